"""`espalier import`: a trained network, tried on the project's data before it becomes its teacher."""

from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from espalier.commands.options import mapping
from espalier.errors import BadInput
from espalier.making.import_network import better_preprocessing, fitted
from espalier.making.job import Job
from espalier.making.stage_dependencies import unknown_to_dvc
from espalier.params import Imported, check, read_content
from espalier.paths import PARAMS, TEACHER

_WITH_NETWORK = (".onnx", ".pt2")  # files that hold a network; the second is refused with a way out


def run(
    root: Path,
    weights: str | None,
    model: str | None,
    arguments: str | None,
    settings: str | None,
    key: str | None,
) -> None:
    """Say how accurate a trained network is on validation, and how it is written in `params.yaml`.

    Args:
        root: folder of the project, whose data are prepared.
        weights: ONNX file, file of the weights, or the name of published ones; None for the teacher that
            `params.yaml` has.
        model: factory of the network.
        arguments: arguments of the factory, in YAML.
        settings: preprocessing of the network, in YAML.
        key: key of the weights in a checkpoint.

    Raises:
        BadInput: if the weights do not fit the network, or an option is not valid.
    """
    content, _ = read_content(root)
    if weights is not None and isinstance(content, dict):
        content["teacher"] = _entry(weights, model, arguments, settings, key)
    params = check(content)
    if not isinstance(params.teacher, Imported):
        raise BadInput(
            f"Expected a file of weights, or a teacher in {PARAMS} with `by: import`; found "
            "neither: espalier import WEIGHTS --model NAME."
        )
    job: Job[Imported] = Job.of(root, TEACHER, params)
    imported = fitted(job)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    for note in imported.notes:
        say(note)
    value, low, high = imported.score
    say(f"Accuracy on validation: {value:.2%} ({low:.2%}..{high:.2%})")
    if better := better_preprocessing(job, imported):
        say(f"With another preprocessing it is {better[1]:.2%}: input: {_flow(better[0])}")
        content["teacher"]["input"] = better[0]
    if weights is not None:
        say(f"In {PARAMS}:\nteacher: {_flow(content['teacher'])}")
        for file in unknown_to_dvc(root, TEACHER, job.entry.own_files):
            say(f"In dvc.yaml, under stages.teacher.deps:\n- {file}")


def _entry(
    weights: str, model: str | None, arguments: str | None, settings: str | None, key: str | None
) -> dict[str, Any]:
    if model is None and Path(weights).suffix not in _WITH_NETWORK:
        raise BadInput(
            "Expected --model to name the network that the weights belong to, such as "
            "torchvision:resnet18; found none."
        )
    given = {
        "model": model,
        "arguments": mapping("--arguments", arguments),
        "weights": weights,
        "key": key,
        "input": mapping("--input", settings),
    }
    return {"by": "import", **{name: value for name, value in given.items() if value}}


def _flow(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, default_flow_style=True, sort_keys=False, width=10**6).strip()

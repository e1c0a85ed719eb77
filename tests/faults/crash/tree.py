"""A tree of tiny models, its state before each stage, and the artefacts of an undisturbed run."""

import csv
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from faults.crash.forks import Forks

from espalier import files
from espalier.data.sources import import_data
from espalier.errors import BadInput
from espalier.settings.data import DataSettings

PARAMS = """\
seed: 0
trusted: []
data: {validation: 0.2, test: 0.2}
training: {batch_size: 32, threads: 1}
teacher: {model: "espalier:mlp", arguments: {hidden: [16]}, epochs: 3}
models:
  student: {from: teacher, by: distill, model: "espalier:mlp", arguments: {hidden: [8]}, epochs: 3}
  pruned: {from: student, by: prune, keep_macs: 0.7, align: 1, finetune: {epochs: 2}}
  int8: {from: student, by: quantize, images: 16}
evaluation: {rounds: 3}
registry: {name: tiny}
"""
GATES = "champion: {choose: smallest, gates: {drop: 0.9, worst_class_drop: 1.0, torch_agreement: 0.1}}\n"
STAGES = (
    "prepare",
    "make@teacher",
    "make@student",
    "make@pruned",
    "make@int8",
    "evaluate",
    "register",
    "promote",
)
_IMAGES = 120  # of the 1,797 digits
_TIMED = ("latency", "speedup", "memory")  # columns of models.csv that are measured
_CLOCK = {"seconds", "time", "finished"}


@dataclass(frozen=True)
class Tree:
    """The states of a project.

    Attributes:
        folder: folder of a copy of the project before each stage, and after the last.
        calls: number of calls that change files, by stage.
    """

    folder: Path
    calls: dict[str, int]

    @classmethod
    def grow(
        cls, folder: Path, embedded: Path, runners: list[Forks], stages: tuple[str, ...] = STAGES
    ) -> "Tree":
        """Make the tree once, undisturbed; the runners have everything imported afterwards.

        Args:
            folder: folder for the states.
            embedded: folder of the embedded digits.
            runners: runners of stages.
            stages: the first of `STAGES`, or all.
        """
        project, first = folder / "project", runners[0]
        plant(project, embedded)
        for stage in stages:
            modules = first.modules_of(project, stage)
            for runner in runners:
                runner.warm_up(modules)

        shutil.rmtree(project)
        plant(project, embedded)
        calls = {}
        for stage in stages:
            shutil.copytree(project, folder / "before" / stage, symlinks=True)
            calls[stage] = first.run(project, stage).calls
        project.rename(folder / "undisturbed")
        return cls(folder, calls)

    @property
    def undisturbed(self) -> Path:
        """The project after an undisturbed run."""
        return self.folder / "undisturbed"

    def start(self, stage: str, at: Path) -> Path:
        """A copy of the project before a stage."""
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(self.folder / "before" / stage, at, symlinks=True)
        return at


def plant(project: Path, embedded: Path) -> None:
    """Make a project with 120 digits, parameters and gates, without a graph."""
    shutil.copytree(embedded, project / ".dvc" / "embedded")
    import_data("digits", project / "data", None, project / ".espalier" / "work", DataSettings())
    for path in (project / "data").glob("*.parquet"):
        pd.read_parquet(path).iloc[:_IMAGES].to_parquet(path)
    (project / "params.yaml").write_text(PARAMS)
    (project / "mlflow").mkdir()
    (project / "mlflow" / "gates.yaml").write_text(GATES)


def output_of(stage: str) -> str | None:
    """The output that DVC removes before it runs a stage; none if it persists."""
    command, _, name = stage.partition("@")
    return {"make": f"models/{name}", "evaluate": "reports"}.get(command)


def is_complete(root: Path, stage: str) -> bool:
    """Whether a former attempt has completed the model of a stage, so that nothing may train it again."""
    output = output_of(stage)
    if output is None or not output.startswith("models/"):
        return False
    try:
        return bool(files.verify(root / ".espalier" / "kept" / output))
    except BadInput:
        return False


def differences(stage: str, root: Path, undisturbed: Path) -> list[str]:
    """The artefacts of a stage that are not, bit for bit, those of the undisturbed run."""
    command, _, name = stage.partition("@")
    folder = {"prepare": "prepared", "make": f"models/{name}", "evaluate": "reports"}.get(command)
    if folder is None:
        return []
    wanted, found = _contents(undisturbed / folder), _contents(root / folder)
    changed = [path for path in wanted if path in found and wanted[path] != found[path]]
    return sorted({*changed, *(wanted.keys() ^ found.keys())})


def _contents(folder: Path) -> dict[str, Any]:
    """The content of each file of a folder, without times."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _content(path) for name, path in named.items() if not _is_of_measures(name)}


def _is_of_measures(name: str) -> bool:
    """Whether a file has nothing but times and latencies, or what follows from them."""
    return name in ("manifest.json", "conditions.json", "index.html") or name.startswith(
        ("metrics/", "curves/")
    )


def _content(path: Path) -> Any:
    if path.name == "models.csv":
        table = pd.read_csv(path)
        measured = [column for column in table if column.startswith(_TIMED)]
        return table.drop(columns=[*measured, "front"]).to_csv()
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        return [_without_times(row) for row in rows]
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    return files.sha256(path)


def _without_times(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: value for key, value in content.items() if key not in _CLOCK}

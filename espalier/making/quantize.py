"""`by: quantize`."""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from espalier import files
from espalier.data.prepared import open_split
from espalier.errors import BadInput, Notice
from espalier.making.job import Job
from espalier.making.networks import parent
from espalier.making.quantization_aware import Trained, train_aware
from espalier.making.result import OperationResult
from espalier.measures.comparison import compare_latency
from espalier.measures.sittings import Run
from espalier.params import Quantize
from espalier.paths import DEPLOYED, METRICS, MODELS, PREPARED
from espalier.quantization.dynamic import quantize_dynamically
from espalier.quantization.ladder import Ladder, LadderStep
from espalier.quantization.resamples import resamples
from espalier.quantization.stability import stability
from espalier.quantization.static import insert, observe_file
from espalier.training.history import Row

_MEASURED = 64  # calibration images on which the sensitivity of layers is measured
_SECONDS = 0.6  # for which a file is timed beside its parent's, at each batch size
_BATCHES = (1, 64)


@dataclass
class _Result:
    """A quantized file and what belongs to it."""

    model: onnx.ModelProto
    network: torch.nn.Module
    record: dict[str, Any]
    metrics: dict[str, float]
    history: list[Row]


def quantized(job: Job) -> OperationResult:
    """Quantize the parent's deployed file; the weights beside it stay the parent's, unless they are trained for it."""
    entry = job.entry
    assert isinstance(entry, Quantize)
    if entry.scheme not in job.runtime.integer_forms:
        raise BadInput(
            f"Expected a `scheme` that {job.runtime.name} executes in integers, of "
            f"{', '.join(sorted(job.runtime.integer_forms))}; found `scheme: {entry.scheme}`."
        )
    network = parent(job)
    result = _SCHEMES[entry.scheme](job, entry, network)
    architecture = replace(job.architecture(entry.parent), quantization=result.record)
    architecture.attach(result.network)
    content = result.model.SerializeToString()
    if not job.team.rank:
        _say_if_slower(job, entry, content)

    def deploy(path: Path) -> None:
        path.write_bytes(content)

    base = int(job.lineage(entry.parent)["base_macs"])
    return OperationResult(result.network, base, result.history, deploy, result.metrics)


def _static(job: Job, entry: Quantize, network: torch.nn.Module) -> _Result:
    samples = _samples(job, entry)
    observed = observe_file(job.root / MODELS / entry.parent / DEPLOYED, samples)
    options = {"per_channel": entry.per_channel, "reduce_range": entry.reduce_range}
    record: dict[str, Any] = {"scheme": "static", "calibration": entry.calibration, **options}
    judge = _judge(job)
    metrics = (
        stability(observed, entry.calibration, judge, **options) if entry.resamples > 1 else {}
    )
    if entry.ladder is None:
        ranges = observed.ranges(entry.calibration)
        model = insert(
            observed.model, ranges, per_channel=entry.per_channel, reduce_range=entry.reduce_range
        )
        return _Result(model, network, record, metrics, [])
    trained: list[Trained] = []

    def aware(calibration: str) -> onnx.ModelProto:
        trained.append(train_aware(job, network, samples[0], calibration, **options))
        return trained[-1].model

    before = float(
        files.read_json(job.root / MODELS / entry.parent / METRICS)[
            f"validation_{job.task.headline.name}"
        ]
    )
    ladder = Ladder(
        observed,
        entry.calibration,
        judge,
        enough=before - entry.ladder.limit,
        images=samples[0][:_MEASURED],
        layers=entry.ladder.layers,
        aware=aware if entry.ladder.aware else None,
        threads=job.recipe.threads,
        **options,
    )
    tried, chosen = ladder.run()
    _report_ladder(job, tried, chosen, before, entry.ladder.limit)
    record |= {"ladder": [rung.record() for rung in tried], "chosen": chosen.record()}
    if chosen.measure == "aware":
        return _Result(
            chosen.model,
            trained[0].network,
            record | {"scheme": "aware"},
            metrics,
            trained[0].history,
        )
    return _Result(chosen.model, network, record, metrics, [])


def _dynamic(job: Job, entry: Quantize, network: torch.nn.Module) -> _Result:
    options = {"per_channel": entry.per_channel, "reduce_range": entry.reduce_range}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / DEPLOYED
        quantize_dynamically(job.root / MODELS / entry.parent / DEPLOYED, target, **options)
        return _Result(onnx.load(target), network, {"scheme": "dynamic", **options}, {}, [])


def _aware(job: Job, entry: Quantize, network: torch.nn.Module) -> _Result:
    options = {"per_channel": entry.per_channel, "reduce_range": entry.reduce_range}
    trained = train_aware(job, network, _samples(job, entry)[0], entry.calibration, **options)
    record = {"scheme": "aware", "calibration": entry.calibration, **options}
    return _Result(trained.model, trained.network, record, {}, trained.history)


_SCHEMES: dict[str, Callable[[Job, Quantize, torch.nn.Module], _Result]] = {
    "static": _static,
    "dynamic": _dynamic,
    "aware": _aware,
}


def _samples(job: Job, entry: Quantize) -> list[np.ndarray]:
    """Training images: spread over the split, in its order; or several samples."""
    split = open_split(job.root / PREPARED, "train")
    if entry.resamples > 1:
        places = resamples(split.targets.numpy(), entry.images, entry.resamples, job.params.seed)
    else:
        places = [
            np.unique(np.linspace(0, len(split) - 1, min(entry.images, len(split))).astype(int))
        ]
    return [np.stack([split[int(place)][0].numpy() for place in sample]) for sample in places]


def _judge(job: Job) -> Callable[[onnx.ModelProto], float]:
    """A function that computes the mean score of a file on the validation split."""
    validation = job.open("validation")
    batches = list(validation.batches([torch.arange(len(validation))]))
    images, targets = batches[0].inputs.cpu().numpy(), batches[0].targets.cpu()

    def judge(model: onnx.ModelProto) -> float:
        opened = job.runtime.open(model.SerializeToString(), job.recipe.threads)
        outputs = torch.from_numpy(opened.outputs(images))
        return float(job.task.score(outputs, targets).double().mean())

    return judge


def _report_ladder(
    job: Job, steps: list[LadderStep], chosen: LadderStep, before: float, limit: float
) -> None:
    """Print the steps of the ladder, and warn if none was enough."""
    if job.team.rank:
        return
    headline = job.task.headline
    for step in steps:
        detail = step.detail if isinstance(step.detail, str) else ", ".join(step.detail)
        score = headline.text(step.score)
        print(f"{job.name}: {step.measure} {detail}: {score} on validation")  # noqa: T201
    if chosen.score < before - limit:
        warnings.warn(
            f"Expected {job.name} to lose at most {headline.text(limit)} on validation; found "
            f"{headline.text(before)} before and {headline.text(chosen.score)} after the best of "
            f"{len(steps)} steps ({chosen.measure}).",
            Notice,
            stacklevel=2,
        )


def _say_if_slower(job: Job, entry: Quantize, content: bytes) -> None:
    """Warn with the figures if the runtime takes longer for integers than for the parent."""

    def opened() -> dict[str, Run]:
        return {
            "parent": job.runtime.open(job.root / MODELS / entry.parent / DEPLOYED).run,
            "child": job.runtime.open(content).run,
        }

    found = {size: compare_latency(opened, _zeros(job, size), _SECONDS) for size in _BATCHES}
    slower = [
        f"{one.child:.3g} ms instead of {one.parent:.3g} ms at batch {size} ({one.speed:.2f} times "
        "as fast)"
        for size, one in found.items()
        if one and one.slower
    ]
    if slower:
        warnings.warn(
            f"Expected {job.name} to be faster than {entry.parent} in the runtime, on one thread "
            "of this machine; found "
            f"{', '.join(slower)}.",
            Notice,
            stacklevel=2,
        )


def _zeros(job: Job, size: int) -> np.ndarray:
    return job.dataset.zeros(size).numpy()

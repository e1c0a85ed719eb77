"""`by: quantize`."""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from espalier.errors import BadInput, Notice
from espalier.making.job import Job
from espalier.making.latency_check import LatencyCheck
from espalier.making.networks import parent_network
from espalier.making.quantization_aware import Trained, train_aware
from espalier.making.result import OperationResult
from espalier.measures.device import multiplies_bytes_exactly
from espalier.params import Quantize
from espalier.params.quantize import LadderSettings
from espalier.paths import DEPLOYED
from espalier.quantization.compact import compact
from espalier.quantization.dynamic import quantize_dynamically
from espalier.quantization.ladder import Ladder, LadderStep
from espalier.quantization.recurrent import recurrent_notes
from espalier.quantization.resamples import resamples
from espalier.quantization.stability import stability
from espalier.quantization.static import Observed, insert, observe_file
from espalier.training.history import Row

_MEASURED = 64  # calibration images on which the sensitivity of layers is measured
_FASTER = LatencyCheck("the float file may be the better one here", batches=(1, 64), seconds=0.6)

Judge = Callable[[onnx.ModelProto], float]
"""Computes the mean score of a file on the validation split."""


@dataclass(frozen=True)
class _Quantized:
    """A quantized file and what is recorded with it.

    Attributes:
        model: quantized file.
        network: network whose weights are saved beside the file.
        record: the file's entry in `architecture.json`.
        metrics: numbers for `metrics.json`.
        history: a row per epoch of quantization-aware training.
    """

    model: onnx.ModelProto
    network: nn.Module
    record: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)


def quantize(job: Job[Quantize]) -> OperationResult:
    """Quantize the deployed file of the parent.

    The weights saved beside the file are the parent's, or the result of quantization-aware
    training.
    """
    entry, runtime = job.entry, job.runtime
    if entry.scheme not in runtime.integer_forms:
        raise BadInput(
            f"Expected a `scheme` that {runtime.name} executes in integers, of "
            f"{', '.join(sorted(runtime.integer_forms))}; found `scheme: {entry.scheme}`."
        )
    quantized = _SCHEMES[entry.scheme](job, parent_network(job))
    architecture = job.project.architecture(entry.parent)
    replace(architecture, quantization=quantized.record).attach(quantized.network)
    content = compact(quantized.model).SerializeToString()

    def deploy(path: Path) -> None:
        path.write_bytes(content)

    return OperationResult(
        quantized.network,
        job.project.base_macs(entry.parent),
        quantized.history,
        deploy,
        quantized.metrics,
        notes=(
            *_range_notes(entry),
            *recurrent_notes(quantized.model),
        ),
        latency_check=_FASTER,
    )


def _range_notes(entry: Quantize) -> tuple[str, ...]:
    """A sentence about 8-bit weights where products may saturate; nothing otherwise."""
    if entry.reduce_range or multiplies_bytes_exactly():
        return ()
    return (
        "Weights of 8 bits (`reduce_range: false`) on a processor without VNNI: sums of products "
        "saturate in 16 bits, which can cost points of accuracy here. `reduce_range: true` is exact.",
    )


def _static(job: Job[Quantize], network: nn.Module) -> _Quantized:
    """Integers with ranges that are measured once."""
    entry, samples, judge = job.entry, _samples(job), _judge(job)
    observed = observe_file(job.project.deployed(entry.parent), samples)
    several = entry.resamples > 1
    metrics = stability(observed, entry.calibration, judge, **_options(entry)) if several else {}
    if entry.ladder is None:
        model = insert(
            observed.model,
            observed.ranges(entry.calibration),
            per_channel=entry.per_channel,
            reduce_range=entry.reduce_range,
        )
        quantized = _Quantized(model, network, _record(entry, "static"))
    else:
        quantized = _run_ladder(
            job,
            network,
            entry.ladder,
            observed,
            samples[0],
            judge,
        )
    return replace(quantized, metrics=metrics)


def _run_ladder(
    job: Job[Quantize],
    network: nn.Module,
    settings: LadderSettings,
    observed: Observed,
    images: np.ndarray,
    judge: Judge,
) -> _Quantized:
    """The best of the steps that are tried until one loses little enough."""
    entry = job.entry
    trained: list[Trained] = []

    def train(calibration: str) -> onnx.ModelProto:
        trained.append(
            train_aware(
                job,
                network,
                images,
                calibration,
                **_options(entry),
            )
        )
        return trained[-1].model

    headline = job.data.task.headline
    before = float(job.project.metrics(entry.parent)[f"validation_{headline.name}"])
    ladder = Ladder(
        observed,
        entry.calibration,
        judge,
        enough=before - settings.limit,
        images=images[:_MEASURED],
        layers=settings.layers,
        aware=train if settings.aware else None,
        threads=job.recipe.threads,
        **_options(entry),
    )
    tried, chosen = ladder.run()
    _report(job, tried, chosen, before, settings.limit)
    steps = {"ladder": [step.record() for step in tried], "chosen": chosen.record()}
    if chosen.measure != "aware":
        return _Quantized(chosen.model, network, _record(entry, "static") | steps)
    result = trained[0]
    record = _record(entry, "aware") | steps
    return _Quantized(chosen.model, result.network, record, history=result.history)


def _dynamic(job: Job[Quantize], network: nn.Module) -> _Quantized:
    """Integers with ranges that are measured in every call."""
    entry = job.entry
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / DEPLOYED
        quantize_dynamically(job.project.deployed(entry.parent), target, **_options(entry))
        model = onnx.load(target)
    return _Quantized(model, network, {"scheme": "dynamic", **_options(entry)})


def _aware(job: Job[Quantize], network: nn.Module) -> _Quantized:
    """Integers with ranges and weights that are trained."""
    entry = job.entry
    images = _samples(job)[0]
    trained = train_aware(
        job,
        network,
        images,
        entry.calibration,
        **_options(entry),
    )
    record = _record(entry, "aware")
    if entry.portions:
        record["portions"] = list(entry.portions)
    return _Quantized(trained.model, trained.network, record, history=trained.history)


_SCHEMES: dict[str, Callable[[Job[Quantize], nn.Module], _Quantized]] = {
    "static": _static,
    "dynamic": _dynamic,
    "aware": _aware,
}


def _options(entry: Quantize) -> dict[str, bool]:
    return {"per_channel": entry.per_channel, "reduce_range": entry.reduce_range}


def _record(entry: Quantize, scheme: str) -> dict[str, Any]:
    return {"scheme": scheme, "calibration": entry.calibration, **_options(entry)}


def _samples(job: Job[Quantize]) -> list[np.ndarray]:
    """One sample of training inputs, spread over the split in its order; or several."""
    entry, train = job.entry, job.data.train
    if entry.resamples > 1:
        strata = job.data.task.strata(train.targets.cpu().numpy())
        indices = resamples(strata, entry.images, entry.resamples, job.params.seed)
    else:
        spread = np.linspace(0, len(train) - 1, min(entry.images, len(train)))
        indices = [np.unique(spread.astype(int))]
    groups = [torch.from_numpy(index) for index in indices]
    return [batch.inputs.cpu().numpy() for batch in train.batches(groups)]


def _judge(job: Job[Quantize]) -> Judge:
    """A function that computes the mean score of a file on the validation split."""
    inputs, targets = job.data.stored("validation")
    images = inputs.numpy()

    def judge(model: onnx.ModelProto) -> float:
        opened = job.runtime.open(model.SerializeToString(), job.recipe.threads)
        outputs = torch.from_numpy(opened.outputs(images))
        return float(job.data.task.score(outputs, targets).double().mean())

    return judge


def _report(
    job: Job[Quantize], steps: list[LadderStep], chosen: LadderStep, before: float, limit: float
) -> None:
    """Print the steps of the ladder, and warn if none was enough."""
    if job.processes.rank:
        return
    headline = job.data.task.headline
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

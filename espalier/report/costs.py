"""Costs of deployed files, as columns of `models.csv`: sizes, peak memory and latencies."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import torch

from espalier.data.prepared import Dataset
from espalier.export.onnx import Deployed
from espalier.judging import Interval, ratio
from espalier.measures.energy import energy
from espalier.measures.products import products
from espalier.measures.sittings import SELDOM, Run, in_sittings
from espalier.models.folder import load, read_architecture
from espalier.params import Params
from espalier.paths import DEPLOYED, METRICS, MODELS, TEACHER
from espalier.records import MetricsRecord, read_record
from espalier.runtimes import OpenModel, runtime_named

_BATCHES = {
    1: 10,
    64: 1,
}  # calls per round, by batch size: short calls vary most and cost least
_EAGER = "the teacher in eager torch"
# of metrics.json, where it has them, and an estimate from them
_FACTS = ["parameters", "macs", "bytes", "packed_bytes", "energy_uj"]
_OF_SEEDS = ["seeds", "seeds_mean", "seeds_std"]  # columns where a model has several seeds


def recorded_facts(root: Path, params: Params) -> pd.DataFrame:
    """The figures that were recorded when the models were made."""
    metrics = {}
    for name in params.names:
        folder = root / MODELS / name
        own = read_record(folder / METRICS, MetricsRecord)
        metrics[name] = {**own, "energy_uj": _microjoules(folder, own)}
    found = pd.DataFrame.from_dict(metrics, orient="index")
    seeds = _OF_SEEDS if _OF_SEEDS[0] in found else []
    return found.reindex(columns=[*_FACTS, *seeds])


def _microjoules(folder: Path, own: Mapping[str, Any]) -> float:
    """The estimate of the energy of one answer; NaN if only some products are of integers."""
    integers = {False}
    if read_architecture(folder).quantization is not None:
        integers = set(products(onnx.load(folder / DEPLOYED, load_external_data=False)))
    if len(integers) != 1:
        return math.nan
    return energy(own["macs"], own["bytes"], integers=integers.pop())


def peak_memory(root: Path, params: Params, dataset: Dataset) -> pd.DataFrame:
    """The peak of memory of each deployed file, in bytes, for each batch size."""
    paths = [root / MODELS / name / DEPLOYED for name in params.names]
    runtime = runtime_named(params.evaluation.runtime)
    example = dataset.zeros(1)[0].numpy()
    peaks = runtime.peak_memory(paths, example, list(_BATCHES), params.evaluation.threads)
    return pd.DataFrame(peaks, index=params.names, columns=[f"memory_{size}" for size in _BATCHES])


def latencies(
    root: Path, params: Params, dataset: Dataset, inputs: np.ndarray
) -> Iterator[pd.DataFrame]:
    """The latency and its ratio to the teacher's, a table for each batch size."""
    eager = _eager_teacher(root, params, dataset)
    times = in_sittings(
        lambda: {name: _open(root, params, name).run for name in params.names} | {_EAGER: eager},
        {
            size: np.resize(inputs, (size, *dataset.shape)) for size in _BATCHES
        },  # repeats where there are fewer
        {size: often * params.evaluation.rounds for size, often in _BATCHES.items()},
        seldom=(_EAGER,),  # it takes longer than all others, and no gate reads it
    )
    alone = params.evaluation.threads == 1  # several threads' work is no time that anyone waits
    for size, taken in times.items():
        seconds = {name: one.comparable(alone=alone) for name, one in taken.items()}
        rows = {name: _latency(size, taken[name].wall, name, seconds) for name in params.names}
        yield pd.DataFrame.from_dict(rows, orient="index")


def _latency(
    size: int, wall: np.ndarray, name: str, seconds: Mapping[str, np.ndarray]
) -> dict[str, float]:
    speed = ratio(seconds[name], seconds[TEACHER]) if name != TEACHER else Interval(1.0, 1.0, 1.0)
    return {
        f"latency_{size}_ms": 1e3 * float(np.median(wall)),
        f"latency_{size}_p95_ms": 1e3 * float(np.quantile(wall, 0.95)),
        f"speedup_{size}": speed.value,
        f"speedup_{size}_low": speed.low,
        f"speedup_{size}_high": speed.high,
        f"speedup_eager_{size}": ratio(seconds[name][:, ::SELDOM], seconds[_EAGER]).value,
    }


def _eager_teacher(root: Path, params: Params, dataset: Dataset) -> Run:
    """The teacher in eager torch, the usual base of speed-ups: most of such a speed-up is the runtime's."""
    torch.set_num_threads(params.evaluation.threads)
    folder = root / MODELS / TEACHER
    front = dataset.front(preprocessing=read_architecture(folder).preprocessing)
    network = load(folder, trusted=params.trusted)
    readout = dataset.build_task().readout()
    teacher = Deployed(network, front, readout).cpu().eval()

    @torch.inference_mode()
    def call(inputs: np.ndarray) -> np.ndarray:
        answer: np.ndarray = teacher(torch.from_numpy(inputs)).numpy()
        return answer

    return call


def _open(root: Path, params: Params, name: str) -> OpenModel:
    runtime = runtime_named(params.evaluation.runtime)
    return runtime.open(root / MODELS / name / DEPLOYED, params.evaluation.threads)

"""Quantization-aware training, a part of `by: quantize`."""

import fnmatch
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from espalier.folding import fold_batch_norms
from espalier.making.job import Job
from espalier.making.teaching import objective_of
from espalier.params import Quantize
from espalier.paths import DEPLOYED
from espalier.quantization.aware import Aware, aware
from espalier.quantization.deploy import export_integers
from espalier.training.history import Row, appended
from espalier.training.recipe import Recipe


@dataclass(frozen=True)
class Trained:
    """The result of quantization-aware training.

    Attributes:
        network: network with its weights in floating point, its batch norms folded.
        model: file in integers.
        history: a row per epoch.
    """

    network: nn.Module
    model: onnx.ModelProto
    history: list[Row]


def train_aware(
    job: Job[Quantize],
    network: nn.Module,
    images: np.ndarray,
    calibration: str,
    *,
    per_channel: bool,
    reduce_range: bool,
) -> Trained:
    """Train a network for integers by distillation from the teacher.

    Args:
        job: job of the entry.
        network: network in floating point; unchanged.
        images: stored inputs (N, ...) on which the first ranges are measured.
        calibration: calibration of the first ranges.
        per_channel: as in `quantize`.
        reduce_range: as in `quantize`.
    """
    stored = torch.from_numpy(images)
    inputs = job.data.front(stored.to(job.processes.device))
    folded = fold_batch_norms(network, inputs[:2])
    learner = aware(
        folded,
        inputs,
        calibration=calibration,
        per_channel=per_channel,
        reduce_range=reduce_range,
        incremental=bool(job.entry.portions),
    )
    recipe = replace(job.recipe, freeze=_of_learner(job.recipe.freeze, network, folded))
    history = _fit(job, learner, recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DEPLOYED
        data = job.data
        export_integers(
            learner, path, stored, data.deployed_front, readout=data.readout, names=data.names
        )
        network = learner.frozen().network if job.entry.portions else learner.network
        return Trained(network, onnx.load(path), history)


def _of_learner(patterns: Sequence[str], network: nn.Module, folded: nn.Module) -> tuple[str, ...]:
    """The patterns of frozen layers for the learner, in which the network is the layer `network`.

    Patterns of folded batch norms match nothing any more, and are left out.
    """
    before, after = ([name for name, _ in one.named_modules()] for one in (network, folded))
    gone = {
        one for one in patterns if fnmatch.filter(before, one) and not fnmatch.filter(after, one)
    }
    return tuple(f"network.{one}" for one in patterns if one not in gone)


def _fit(job: Job[Quantize], learner: Aware, recipe: Recipe) -> list[Row]:
    """Train once or, with `portions`, once after each portion of the weights is quantized."""
    objective = objective_of(job, learner.network)
    if not job.entry.portions:
        return job.fit(learner, objective, part="aware", recipe=recipe)
    history: list[Row] = []
    for number, portion in enumerate(job.entry.portions, 1):
        learner.quantize_portion(portion)
        rows = job.fit(learner, objective, part=f"aware-{number}", recipe=recipe)
        history = appended(history, rows)
    return history

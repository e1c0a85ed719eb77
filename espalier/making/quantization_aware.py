"""Quantization-aware training, a part of `by: quantize`."""

import tempfile
from dataclasses import dataclass
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
from espalier.quantization.aware import aware
from espalier.quantization.deploy import export_integers
from espalier.training.history import Row


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
        folded, inputs, calibration=calibration, per_channel=per_channel, reduce_range=reduce_range
    )
    history = job.fit(learner, objective_of(job, learner.network), part="aware")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DEPLOYED
        data = job.data
        export_integers(
            learner, path, stored, data.deployed_front, readout=data.readout, names=data.names
        )
        return Trained(learner.network, onnx.load(path), history)

"""Quantization-aware training, as a part of `by: quantize`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from espalier.folding import fold_batch_norms
from espalier.making.job import Job
from espalier.making.teaching import objective_from_teacher
from espalier.paths import DEPLOYED, TEACHER
from espalier.quantization.aware import aware
from espalier.quantization.deploy import export_integers
from espalier.training.history import Row


@dataclass(frozen=True)
class Trained:
    """What training for integers gives.

    Attributes:
        network: The network with its weights in floating point, its batch norms folded.
        model: The integer file.
        history: A row per epoch.
    """

    network: nn.Module
    model: onnx.ModelProto
    history: list[Row]


def train_aware(
    job: Job,
    network: nn.Module,
    images: np.ndarray,
    calibration: str,
    *,
    per_channel: bool,
    reduce_range: bool,
) -> Trained:
    """Train a network for integers, taught by the teacher.

    Args:
        job: The entry's.
        network: It is left as it is.
        images: (N, C, H, W) uint8, on which the first ranges are measured.
        calibration: How they are chosen.
        per_channel: As in `quantize`.
        reduce_range: Likewise.
    """
    pixels = torch.from_numpy(images)
    seen = job.front(pixels.to(job.team.device))
    folded = fold_batch_norms(network, seen[:2])
    learner = aware(
        folded, seen, calibration=calibration, per_channel=per_channel, reduce_range=reduce_range
    )
    history = job.fit(learner, objective_from_teacher(job, TEACHER, learner.network), part="aware")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DEPLOYED
        export_integers(learner, path, pixels, job.dataset.front())
        return Trained(learner.network, onnx.load(path), history)

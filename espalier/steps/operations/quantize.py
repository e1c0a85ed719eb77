"""`by: quantize`."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from espalier.data.prepared import open_split
from espalier.params import Quantize
from espalier.paths import MODELS, ONNX, PREPARED
from espalier.quantization import quantize
from espalier.steps.job import Job
from espalier.steps.operations.made import Made
from espalier.steps.operations.networks import parent


def quantized(job: Job) -> Made:
    """Quantize the parent's deployed file; the weights beside it stay the parent's."""
    entry = job.entry
    assert isinstance(entry, Quantize)
    network = parent(job)
    record = {"scheme": entry.scheme, "calibration": entry.calibration, "reduce_range": entry.reduce_range}
    replace(job.architecture(entry.parent), quantization=record).attach(network)
    images = _calibration_images(job, entry.images)

    def deploy(path: Path) -> None:
        source = job.root / MODELS / entry.parent / ONNX
        quantize(source, path, images, calibration=entry.calibration, reduce_range=entry.reduce_range)

    return Made(network, int(job.lineage(entry.parent)["base_macs"]), deploy=deploy)


def _calibration_images(job: Job, count: int) -> np.ndarray:
    """Training images spread over the split, in its order."""
    split = open_split(job.root / PREPARED, "train")
    places = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int))
    return np.stack([split[int(place)][0].numpy() for place in places])

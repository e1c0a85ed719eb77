"""A cut is to make a model faster: one that is slower than its parent is told of."""

import warnings
from pathlib import Path

import numpy as np

from espalier.errors import Notice
from espalier.making.job import Job
from espalier.measures.comparison import compare_latency
from espalier.measures.sittings import Run
from espalier.params import Prune
from espalier.paths import DEPLOYED, MODELS


def tell_if_slower(job: Job, file: Path, images: np.ndarray) -> None:
    """Time the deployed files of a pruned entry and of its parent side by side, at batch 1, for two seconds at most.

    Args:
        job: Of any entry; nothing is done for those that are not pruned.
        file: Its deployed file.
        images: (N, C, H, W) uint8.
    """
    if not isinstance(job.entry, Prune):
        return
    parent = job.root / MODELS / job.entry.parent / DEPLOYED

    def opened() -> dict[str, Run]:
        return {"parent": job.runtime.open(parent).run, "child": job.runtime.open(file).run}

    found = compare_latency(opened, images[:1])
    if found and found.slower:
        warnings.warn(
            f"Expected pruning not to make a model slower; found {found.child:.3f} ms for "
            f"{job.name} and {found.parent:.3f} "
            f"ms for {job.entry.parent} at batch 1, on one thread: a larger `align` or `budget: "
            "latency` may serve.",
            Notice,
            stacklevel=2,
        )

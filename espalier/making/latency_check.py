"""A warning if a compressed model is slower than its parent."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from espalier.errors import Notice
from espalier.making.job import Job
from espalier.measures.comparison import Comparison, compare_latency
from espalier.measures.sittings import Run
from espalier.params import ChildEntry


@dataclass(frozen=True)
class LatencyCheck:
    """A comparison of a deployed file with the file of its parent.

    Attributes:
        hint: what may help if the file is slower.
        batches: batch sizes that are timed.
        seconds: time limit of each batch size.
    """

    hint: str
    batches: tuple[int, ...] = (1,)
    seconds: float = 2.0


def warn_if_slower(job: Job[ChildEntry], file: Path, check: LatencyCheck) -> Comparison | None:
    """Time the deployed files of an entry and of its parent in turn, on one thread; warn if it is slower.

    Args:
        job: job of the entry.
        file: its deployed file.
        check: batch sizes and time limit.

    Returns:
        The latencies at batch 1; None if they take too long to be measured.
    """

    def opened() -> dict[str, Run]:
        parent = job.runtime.open(job.project.deployed(job.entry.parent))
        return {"parent": parent.run, "child": job.runtime.open(file).run}

    slower, compared = [], {}
    for size in check.batches:
        inputs = job.data.dataset.zeros(size).numpy()
        found = compared[size] = compare_latency(opened, inputs, check.seconds)
        if found and found.slower:
            slower.append(
                f"{found.child:.3g} ms instead of {found.parent:.3g} ms at batch {size} "
                f"({found.speed:.2f} times as fast)"
            )
    if slower:
        warnings.warn(
            f"Expected {job.name} to be faster than {job.entry.parent} in {job.runtime.name}, on "
            f"one thread; found {', '.join(slower)}: {check.hint}.",
            Notice,
            stacklevel=2,
        )
    return compared.get(1)

"""Several seeds of one entry: all are trained, and the median is kept."""

import shutil
import statistics
from dataclasses import dataclass, replace
from typing import Any

from espalier.making.job import Job
from espalier.making.operations import operation_named
from espalier.making.result import OperationResult


@dataclass(frozen=True)
class _Sibling:
    """A network of one seed.

    Attributes:
        seed: seed of the network and of its training.
        result: result of the operation.
        score: mean score on validation.
    """

    seed: int
    result: OperationResult
    score: float


def make(job: Job[Any]) -> OperationResult:
    """The result of the operation of an entry; of several seeds that of the median score on validation.

    The best one would be chosen for its luck on validation, and would promise more than it holds.
    Of an even number the lower of the two in the middle is kept.
    """
    operation = operation_named(job.entry.by)
    if job.entry.seeds == 1:
        return operation(job)
    siblings = []
    for one in _jobs(job):
        result = operation(one)
        _, score = one.data.validation.loss_and_score(result.network, job.processes)
        siblings.append(_Sibling(one.params.seed, result, score))
    return _median(job, siblings)


def remove_checkpoints(job: Job[Any]) -> None:
    """Remove the checkpoints of a job and of its siblings."""
    for one in _jobs(job):
        shutil.rmtree(one.checkpoints, ignore_errors=True)


def _jobs(job: Job[Any]) -> list[Job[Any]]:
    """The job of each seed, beginning with the job itself."""
    seeds = range(job.params.seed + 1, job.params.seed + job.entry.seeds)
    return [job, *(job.with_seed(seed) for seed in seeds)]


def _median(job: Job[Any], siblings: list[_Sibling]) -> OperationResult:
    """The result of the median sibling, with mean and deviation of all in its metrics."""
    ordered = sorted(siblings, key=lambda one: (one.score, one.seed))
    kept = ordered[(len(ordered) - 1) // 2]
    scores = [one.score for one in siblings]
    mean, deviation = statistics.mean(scores), statistics.stdev(scores)
    headline = job.data.task.headline
    note = (
        f"Of {len(siblings)} seeds: {headline.text(mean)} on validation on average, standard deviation "
        f"{headline.factor * deviation:.2f}; kept is the median, seed {kept.seed}."
    )
    metrics = {"seeds": len(siblings), "seeds_mean": mean, "seeds_std": deviation}
    return replace(
        kept.result,
        metrics={**kept.result.metrics, **metrics},
        notes=(*kept.result.notes, note),
    )

"""`latency`: what saves the most milliseconds for the least score goes first (after Shen et al. 2022, HALP)."""

from espalier.pruning.budgets.global_budget import greedy
from espalier.pruning.budgets.problem import Kept, Problem

_STAIR = 32  # channels: a runtime computes in blocks of 8 or 16, so that fewer than a block may save nothing


def latency(problem: Problem) -> Kept:
    """Let portions go by their score per millisecond that the runtime saves, as measured layer by layer on this device.

    What saves no time is never removed, so that a cut does not make a network slower. The limit may be on the work or
    on the milliseconds themselves. If it is on the work, time should fall at least half as fast: what saves work alone
    goes only if the limit cannot be kept otherwise.

    Returns:
        (count,) whether each unit is kept. If no choice keeps the limit, the nearest one.
    """
    assert problem.time is not None
    return greedy(problem, saved=problem.time, reach=max(1, _STAIR // problem.align))

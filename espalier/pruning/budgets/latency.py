"""`latency`: portions that save the most milliseconds per score go first (after HALP).

Source: Shen et al. (2022), "Structural pruning via latency-saliency knapsack".
"""

from espalier.pruning.budgets.global_budget import greedy
from espalier.pruning.budgets.problem import Kept, Problem

_BLOCK = 32  # channels that one step may remove: runtimes compute in blocks of 8 or 16
_PACE = 0.5  # relative fall of time over that of work: below a runtime's block only work falls
_SLOWER = 1.01  # factor by which milliseconds may grow to come nearer to the limit


def latency(problem: Problem) -> Kept:
    """Remove portions by their score per millisecond that the runtime saves on this device.

    Portions that save no time stay, so that a cut does not make the network slower. The limit may
    be on the work or on the milliseconds. If it is on the work, time must fall at least half as
    fast; portions that save only work go if the limit cannot be kept otherwise.

    Returns:
        (count,) whether each group is kept. If no choice keeps the limit, the nearest one.
    """
    lookahead = max(1, _BLOCK // problem.align)
    return greedy(problem, lookahead=lookahead, pace=_PACE, slower=_SLOWER)

"""Scores: the importance of groups. Each maps (network, groups, losses) to a number per group.

`losses` yields, for each batch of training examples, the loss that the network must keep small.
"""

from espalier.errors import BadInput
from espalier.pruning.scores.activation import activation
from espalier.pruning.scores.fisher import fisher
from espalier.pruning.scores.geometric_median import geometric_median
from espalier.pruning.scores.hessian import hessian
from espalier.pruning.scores.l1 import l1
from espalier.pruning.scores.lamp import lamp
from espalier.pruning.scores.magnitude import magnitude
from espalier.pruning.scores.norm_scale import norm_scale
from espalier.pruning.scores.random import random
from espalier.pruning.scores.score import Function, Losses, Score, normalize_by_layer
from espalier.pruning.scores.taylor import taylor
from espalier.pruning.scores.threshold import threshold

_FILTERS = "it compares whole filters"
_LAYERS = "it makes layers comparable, and these groups have no layer"
_COUNT = "the target says how many of these groups go"

SCORES: dict[str, Score] = {
    "magnitude": Score(magnitude),
    "l1": Score(l1),
    "random": Score(random),
    "taylor": Score(taylor, data="batches"),
    "fisher": Score(fisher, data="examples"),
    "hessian": Score(hessian, data="batches"),
    "geometric_median": Score(geometric_median, ("channels", "heads"), reason=_FILTERS),
    "norm_scale": Score(norm_scale, ("channels",), reason="a norm scales whole channels"),
    "lamp": Score(lamp, ("channels", "heads", "weights"), reason=_LAYERS),
    "activation": Score(activation, ("channels", "heads"), "batches", reason=_FILTERS),
    "threshold": Score(threshold, ("channels", "weights"), reason=_COUNT),
}


def score_named(name: str, pattern: str) -> Score:
    """The score of a name, for groups of a pattern.

    Raises:
        BadInput: if there is no score of this name, or it does not fit the pattern.
    """
    if name not in SCORES:
        raise BadInput(f"Expected `score` to be one of {', '.join(SCORES)}; found {name!r}.")
    score = SCORES[name]
    if pattern not in score.patterns:
        raise BadInput(
            f"Expected a pattern of {', '.join(score.patterns)} for `score: {name}`; found "
            f"`pattern: {pattern}`, but {score.reason}."
        )
    return score


__all__ = [
    "SCORES",
    "Function",
    "Losses",
    "Score",
    "activation",
    "fisher",
    "geometric_median",
    "hessian",
    "l1",
    "lamp",
    "magnitude",
    "norm_scale",
    "normalize_by_layer",
    "random",
    "score_named",
    "taylor",
    "threshold",
]

"""Scores say which groups matter: each maps (network, groups, losses) to a number per group, larger for more.

`losses` yields, for each batch of training images, the loss that the network is to be good at.
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
from espalier.pruning.scores.random import chance
from espalier.pruning.scores.score import Function, Losses, Score
from espalier.pruning.scores.taylor import taylor
from espalier.pruning.scores.threshold import threshold

_ALIKE = "it compares whole filters, and these are alike in it or no filters"

SCORES: dict[str, Score] = {
    "magnitude": Score(magnitude),
    "l1": Score(l1),
    "random": Score(chance),
    "taylor": Score(taylor, data="batches"),
    "fisher": Score(fisher, data="examples"),
    "hessian": Score(hessian, data="batches"),
    "geometric_median": Score(geometric_median, ("channels", "heads"), reason=_ALIKE),
    "norm_scale": Score(norm_scale, ("channels",), reason="a norm scales whole channels"),
    "lamp": Score(
        lamp,
        ("channels", "heads", "weights"),
        reason="it makes layers comparable, and these have no layer",
    ),
    "activation": Score(activation, ("channels", "heads"), "batches", reason=_ALIKE),
    "threshold": Score(
        threshold,
        ("channels", "weights"),
        reason="how many of them go is not for a threshold to say",
    ),
}


def score_named(name: str, pattern: str) -> Score:
    """The score of a name, for groups of a pattern.

    Raises:
        BadInput: If there is none of this name, or it makes no sense for the pattern.
    """
    if name not in SCORES:
        raise BadInput(f"`score` should be one of {', '.join(SCORES)}. Found `score = {name!r}`.")
    score = SCORES[name]
    if pattern not in score.patterns:
        sensible = ", ".join(score.patterns)
        raise BadInput(
            f"`score = {name!r}` should go with a pattern of {sensible}. Found `pattern = {pattern!r}`: {score.reason}."
        )
    return score


__all__ = [
    "SCORES",
    "Function",
    "Losses",
    "Score",
    "activation",
    "chance",
    "fisher",
    "geometric_median",
    "hessian",
    "l1",
    "lamp",
    "magnitude",
    "norm_scale",
    "score_named",
    "taylor",
    "threshold",
]

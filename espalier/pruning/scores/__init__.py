"""Scores: the importance of groups. Each maps (network, groups, losses) to a number per group.

`losses` yields, for each batch of training examples, the loss that the network must keep small. A
score is a function in the module of its name, which is imported when it is first used.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from espalier.errors import BadInput
from espalier.own_functions import own_function

if TYPE_CHECKING:
    from espalier.pruning.scores.score import Function


@dataclass(frozen=True)
class Score:
    """A measure of the importance of groups.

    Attributes:
        name: its name, and that of its function and its module.
        patterns: kinds of groups that it fits: `channels`, `heads`, `blocks`, `weights`, `n_of_m`.
        data: data that it uses: none, batches of examples, or batches of one example each.
        reason: reason why it does not fit the other patterns.
        within_layer: whether it compares groups of one layer alone, and not those of different layers.
        own: a function of the user, or its place `package.module:function`.

    Example:
        >>> SCORES["constant"] = Score("constant", own=lambda network, groups, losses: ...)
    """

    name: str
    patterns: tuple[str, ...] = ("channels", "heads", "blocks", "weights", "n_of_m")
    data: Literal["", "batches", "examples"] = ""
    reason: str = ""
    within_layer: bool = False
    own: "Function | str | None" = None

    @property
    def function(self) -> "Function":
        """The function that computes it."""
        if callable(self.own):
            return self.own
        function: Function = own_function(self.own or f"{__name__}.{self.name}:{self.name}")
        return function


_FILTERS = "it compares whole filters"
_LAYERS = "it makes layers comparable, and these groups have no layer"
_COUNT = "the target says how many of these groups go"

_ROWS = (
    Score("magnitude", within_layer=True),
    Score("l1", within_layer=True),
    Score("random", within_layer=True),
    Score("taylor", data="batches"),
    Score("fisher", data="examples"),
    Score("hessian", data="batches"),
    Score("geometric_median", ("channels", "heads"), reason=_FILTERS, within_layer=True),
    Score("norm_scale", ("channels",), reason="a norm scales whole channels"),
    Score("lamp", ("channels", "heads", "weights"), reason=_LAYERS),
    Score("activation", ("channels", "heads"), "batches", reason=_FILTERS),
    Score("threshold", ("channels", "weights"), reason=_COUNT),
)
SCORES: dict[str, Score] = {score.name: score for score in _ROWS}


def score_named(name: str, pattern: str) -> Score:
    """The score of a name, for groups of a pattern.

    Raises:
        BadInput: if there is no score of this name, or it does not fit the pattern.
    """
    if ":" in name:
        return Score(name, data="batches", own=name)
    if name not in SCORES:
        raise BadInput(
            f"Expected `score` to be one of {', '.join(SCORES)}, or `package.module:function`; found "
            f"{name!r}."
        )
    score = SCORES[name]
    if pattern not in score.patterns:
        raise BadInput(
            f"Expected a pattern of {', '.join(score.patterns)} for `score: {name}`; found "
            f"`pattern: {pattern}`, but {score.reason}."
        )
    return score

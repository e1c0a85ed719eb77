"""Promotions that are unchanged: judging again would leave every alias where it is, for the same reasons.

A promotion ends with a memo, see `espalier.registry.memos`, if a second judgement of the same files
would move nothing. As long as the memo counts, a promotion says the same sentences without judging:
neither torch nor MLflow is imported.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espalier.registry.memos import read_memo

if TYPE_CHECKING:
    from espalier.registry.promotion.judgement import Judgement

MEMO = "promotion"


@dataclass(frozen=True)
class Unchanged:
    """The outcome of a promotion that moves nothing.

    Attributes:
        stays: a sentence for each alias that is at the chosen version.
        refusals: a sentence for each alias for which no candidate passes.
    """

    stays: Sequence[str]
    refusals: Sequence[str]

    @classmethod
    def of(cls, judged: "Sequence[Judgement]") -> "Unchanged | None":
        """The outcome of judgements; None if one of them moves its alias."""
        if any(one.chosen and not one.stays for one in judged):
            return None
        refusals = [str(one.refusal()) for one in judged if one.chosen is None]
        return cls([one.stays for one in judged if one.stays], refusals)

    def to_json(self) -> dict[str, Sequence[str]]:
        """The content of the memo."""
        return asdict(self)


def find_unchanged(root: Path, alias: str | None = None) -> Unchanged | None:
    """The outcome of a promotion, if it is unchanged; None if the candidates have to be judged.

    Args:
        root: The project.
        alias: The only alias to move; all by default.
    """
    found = read_memo(root, MEMO, {"alias": alias})
    return None if found is None else Unchanged(found["stays"], found["refusals"])

"""Contents from which an alias was rolled back: no night promotes one again, but for a reason that is given."""

from collections.abc import Sequence
from datetime import UTC, datetime

from espalier.registry.promotion.audit import ROLLED_BACK, Move, State


def rolled_back(moves: Sequence[Move]) -> dict[str, Move]:
    """The rollback from each content that the alias has not had since.

    Args:
        moves: moves of one alias, the oldest first.

    Returns:
        For each content hash the line of the audit.

    Example:
        Promoted to A, promoted to B, rolled back to A: B. Promoted to B again: none.
    """
    found: dict[str, Move] = {}
    for move in moves:
        if move.state is not State.DONE:
            continue
        found.pop(move.content, None)
        if move.reason == ROLLED_BACK and move.former_content:
            found[move.former_content] = move
    return found


def in_words(move: Move) -> str:
    """Name and day of the one who moved the alias back, and the way to promote its former content all the same."""
    day = datetime.fromtimestamp(move.when / 1000, UTC).date()
    return f"by {move.who} on {day}; {way_on(move.alias)}"


def way_on(alias: str) -> str:
    """The command that promotes such a content."""
    return f"`espalier promote --alias {alias} --again REASON` promotes it all the same"

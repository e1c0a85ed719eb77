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


def in_words(move: Move, into: str = "") -> str:
    """Name and day of the one who moved the alias back, and the way to promote its former content all the same.

    Args:
        move: The rollback.
        into: Name of the registered model, if it is not the project's.
    """
    day = datetime.fromtimestamp(move.when / 1000, UTC).date()
    return f"by {move.who} on {day}; {way_on(move.alias, into)}"


def way_on(alias: str, into: str = "") -> str:
    """The command that promotes such a content, into the project's registered model or another."""
    where = f"--into {into} " if into else ""
    return f"`espalier promote {where}--alias {alias} --again REASON` promotes it all the same"

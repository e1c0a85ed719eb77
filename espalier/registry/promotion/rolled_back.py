"""Contents from which an alias was rolled back: no night promotes one again, but for a reason that is given."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from espalier.registry.promotion.audit import ROLLED_BACK, Audit, Move, State
from espalier.registry.versions import Registry


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


def barred(registry: Registry, alias: str, project: str) -> dict[str, str]:
    """The contents that no promotion moves an alias to, each with who moved it back when, and the way on.

    Args:
        registry: A registered model, of the project or another.
        alias: Name of its alias.
        project: Name of the project's registered model.
    """
    moves = rolled_back(Audit(registry.client, registry.name).moves(alias))
    way = way_on(registry, alias, project)
    return {content: f"by {move.who} on {_day(move)}; {way}" for content, move in moves.items()}


def way_on(registry: Registry, alias: str, project: str) -> str:
    """The command that promotes such a content all the same."""
    is_project = registry.store.is_own and registry.name == project
    into = "" if is_project else f"--into {registry.name} "
    at = "" if registry.store.is_own else f"--at {registry.store.shown} "
    return f"`espalier promote {into}{at}--alias {alias} --again REASON` promotes it all the same"


def _day(move: Move) -> date:
    return datetime.fromtimestamp(move.when / 1000, UTC).date()

"""Promotion: say an unchanged outcome again, or judge all candidates and move the aliases."""

import sys
from pathlib import Path

from espalier.registry.promotion.audit import Move
from espalier.registry.promotion.errors import RefusedError
from espalier.registry.promotion.unchanged import find_unchanged


def promote(
    root: Path,
    alias: str | None = None,
    *,
    without_champion: str | None = None,
    again: str | None = None,
) -> list[Move]:
    """Judge all candidates, and move the aliases of `mlflow/gates.yaml` that a better model may get.

    An unchanged promotion says its outcome again, without judging.

    Args:
        root: The project.
        alias: The only alias to move; all by default.
        without_champion: Reason to judge without a champion whose files are lost or take other inputs; it is in the
            audit.
        again: Reason to promote a content from which the alias was rolled back; it is in the audit.

    Returns:
        The moves that were made; an alias that points to the chosen model already is not moved, unless the
        files of its version are damaged.

    Raises:
        BadInput: If the policy, the reports or the registry are not as expected.
        RefusedError: If no candidate passes, for at least one alias; the other aliases were moved.
        ConcurrentMoveError: If another process moved the alias meanwhile.
    """
    unchanged = None if without_champion or again else find_unchanged(root, alias)
    if unchanged is None:
        # here: torch takes seconds
        from espalier.registry.promotion.procedure import Waivers, judge_and_move

        return judge_and_move(root, alias, Waivers(without_champion, again))
    sys.stdout.writelines(f"{one}\n" for one in unchanged.stays)
    if unchanged.refusals:
        raise RefusedError("\n".join(unchanged.refusals))
    return []

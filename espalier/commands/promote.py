"""`espalier promote`: move each alias to the best model that passes its gates, or copy the champion elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

from espalier.errors import BadInput
from espalier.params import read_params
from espalier.registry import is_registered, remember_check
from espalier.registry.promotion import promote

if TYPE_CHECKING:
    from espalier.registry.promotion import Move


def run(
    root: Path,
    alias: str | None = None,
    into: str | None = None,
    at: str | None = None,
    without_champion: str | None = None,
    again: str | None = None,
) -> "list[Move]":
    """Promote within the project's registered model, or into another one.

    Args:
        root: The project.
        alias: The only alias to move; by default all aliases, or `champion` with `into`.
        into: Name of another registered model that receives a copy of the champion.
        at: Address of the store of that model, in the form of `MLFLOW_TRACKING_URI`; the project's
            by default.
        without_champion: Reason to judge without a champion whose files are lost or take other inputs.
        again: Reason to promote a content from which the alias was rolled back.

    Returns:
        The moves that were made.

    Raises:
        BadInput: If `at` is given without `into`, or a reason without `alias`; and as `promote` and
            `promote_elsewhere`.
    """
    _check_reasons(alias, into, without_champion, again)
    if into is not None:
        # here: torch takes seconds
        from espalier.registry.promotion import promote_elsewhere

        move = promote_elsewhere(root, into, at, alias or "champion", again)
        return [] if move is None else [move]
    if at is not None:
        raise BadInput("Expected --at together with --into NAME; found --at alone.")
    was_registered = is_registered(root)
    try:
        return promote(root, alias, without_champion=without_champion, again=again)
    finally:
        if was_registered and not is_registered(root):  # because the promotion wrote to the store
            remember_check(root, read_params(root))


def _check_reasons(
    alias: str | None, into: str | None, without_champion: str | None, again: str | None
) -> None:
    """Refuse a reason that does not say for which alias, or where it has no meaning."""
    if without_champion is not None and (alias is None or into is not None):
        raise BadInput(
            "Expected --without-champion with --alias ALIAS and without --into; found it otherwise."
        )
    if again is not None and alias is None:
        raise BadInput("Expected --again with --alias ALIAS; found it without.")

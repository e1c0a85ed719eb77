"""`espalier rollback`: move an alias back to its previous version."""

from pathlib import Path

from espalier.registry.promotion import Move, rollback


def run(
    root: Path,
    alias: str = "champion",
    to: str | None = None,
    within: str | None = None,
    at: str | None = None,
) -> Move:
    """Move an alias back; the arguments are those of `espalier.registry.promotion.rollback`."""
    return rollback(root, alias, to, within, at)

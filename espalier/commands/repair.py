"""`espalier repair`: damaged models, reports and objects of DVC's cache, made whole again."""

from pathlib import Path

from rich.console import Console

from espalier.dvc_record import refuse_conflicts
from espalier.errors import BadInput
from espalier.upkeep.repair import Repair, find_cache


def run(root: Path) -> None:
    """Verify models, reports and DVC's cache, drop what is damaged, and restore it or make it again.

    Raises:
        BadInput: if the project has no DVC, a file of DVC holds both sides of a merge, or something stays damaged.
    """
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    if not (root / ".dvc").is_dir():
        raise BadInput(f"Expected {root} to be a project of DVC; found no folder .dvc: `dvc init`.")
    refuse_conflicts(root)
    Repair(root, find_cache(root, say), say).run()

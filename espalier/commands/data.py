"""`espalier data SOURCE`: other data for the project, checked, and versioned by DVC."""

from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from espalier.data.sources import import_data
from espalier.dvc_record import refuse_conflicts
from espalier.params import Params, read_params
from espalier.paths import DATA, PARAMS, STATE
from espalier.upkeep.dvc_commands import call_dvc


def run(root: Path, source: str, files: Path | None) -> None:
    """Replace `data/` of the project in `root`; the old version stays in DVC's cache.

    Args:
        root: The project.
        source: A known name or a path.
        files: folder with the files of a known data set; None downloads them.

    Raises:
        BadInput: if the new data fail a check, or a file of DVC holds both sides of a merge; the old data are
            then unchanged.
        TryAgain: If a download failed, or a disk is full.
    """
    params = read_params(root)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    versioned = (root / ".dvc").is_dir() and find_spec("dvc") is not None
    if versioned:
        refuse_conflicts(root)  # `dvc add` would fail after the data have been replaced

    def keep_the_old() -> None:
        if versioned and (root / DATA).exists():
            call_dvc(root, "add", DATA, say=say)

    brought = import_data(
        source, root / DATA, files, root / STATE / "work", params.data_settings, keep_the_old
    )
    counts = ", ".join(f"{count} {name}" for name, count in brought.counts.items())
    say(f"{brought.name}: {counts}; {brought.description}")
    if brought.dropped:
        say(
            f"Warning: {brought.dropped} examples will be left out: the same ones are also in a "
            "stricter split."
        )
    say(f"{DATA}/ holds version {brought.source_hash[:12]}")
    if versioned:
        call_dvc(root, "add", DATA, say=say)
        say(f"Next: git add {DATA}.dvc && git commit, then {_after_data(root, params)}")
    else:
        say(
            "It is not versioned: DVC is not installed, or this is no DVC project. Next: espalier "
            "prepare"
        )


def _after_data(root: Path, params: Params) -> str:
    """The next steps, once the data are committed."""
    missing = [file for file in params.teacher.own_files if not (root / file).exists()]
    if not missing:
        return "espalier run"
    return f"bring {' and '.join(missing)} of {PARAMS}, and try the teacher: espalier prepare, espalier import"

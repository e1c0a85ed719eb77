"""`espalier data SOURCE`: other data for the project, checked, and versioned by DVC."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from espalier import dvc_messages
from espalier.data.sources import import_data
from espalier.errors import EspalierError
from espalier.params import read_params
from espalier.paths import DATA, STATE
from espalier.system_errors import reaction_to
from espalier.waiting import Reminder

_PAUSE = 2.0  # seconds before DVC is asked again


def run(root: Path, source: str, files: Path | None) -> None:
    """Replace `data/` of the project in `root`; the old version stays in DVC's cache.

    Args:
        root: The project.
        source: A known name or a path.
        files: folder with the files of a known data set; None downloads them.

    Raises:
        BadInput: if the new data fail a check; the old data are then unchanged.
        TryAgain: If a download failed, or a disk is full.
    """
    params = read_params(root)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    versioned = (root / ".dvc").is_dir() and find_spec("dvc") is not None

    def keep_the_old() -> None:
        if versioned and (root / DATA).exists():
            _add(root, say)

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
        _add(root, say)
        say(f"Next: git add {DATA}.dvc && git commit, then espalier run")
    else:
        say(
            "It is not versioned: DVC is not installed, or this is no DVC project. Next: espalier "
            "prepare"
        )


def _add(root: Path, say: Callable[[str], None]) -> None:
    """Put the data as they are into DVC's cache, and their hash into data.dvc.

    Waits while another DVC command uses them.
    """
    environment, reminder = os.environ | {"DVC_NO_ANALYTICS": "1"}, Reminder(say)
    # --quiet would silence the reason of a failure too
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "add", DATA]
    while True:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        # with a full disk under its cache, DVC can print an error and exit with 0
        if done.returncode == 0 and not dvc_messages.FAILED.search(done.stderr):
            return
        reason = " ".join((done.stderr or done.stdout).split())
        if not dvc_messages.BUSY.search(reason):
            raise _failure(reason)
        reminder.say(f"waiting: another DVC command uses {DATA}/")
        time.sleep(_PAUSE)


def _failure(reason: str) -> EspalierError:
    """The error for a reason that DVC gives, with a remedy if it comes from the operating system."""
    found = f"Expected `dvc add {DATA}` to succeed; found: {reason}"
    reaction = reaction_to(reason)
    if reaction:
        return reaction.kind(f"{found.removesuffix('.')}: {reaction.remedy}.")
    return EspalierError(found)

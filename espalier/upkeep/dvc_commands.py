"""Commands of DVC, which wait while another DVC command uses the same files."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from espalier import dvc_messages
from espalier.errors import EspalierError
from espalier.system_errors import reaction_to
from espalier.waiting import Reminder

_PAUSE = 2.0  # seconds before DVC is asked again


def call_dvc(root: Path, *words: str, say: Callable[[str], None]) -> str:
    """Run a command of DVC in a project; returns its output.

    Args:
        root: the project.
        words: the command and its arguments. `--quiet` would silence the reason of a failure too.
        say: receives a sentence while another command is waited for.

    Raises:
        EspalierError: if it fails; the message has DVC's reason.
    """
    environment, reminder = os.environ | {"DVC_NO_ANALYTICS": "1"}, Reminder(say)
    # without --wait-for-lock, which waits in silence
    command = [sys.executable, "-m", "dvc", *words]
    while True:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        # with a full disk under its cache, DVC can print an error and exit with 0
        if done.returncode == 0 and not dvc_messages.FAILED.search(done.stderr):
            return done.stdout
        reason = " ".join((done.stderr or done.stdout).split())
        if not dvc_messages.BUSY.search(reason):
            raise _failure(words, reason)
        reminder.say("waiting: another DVC command uses the same files")
        time.sleep(_PAUSE)


def _failure(words: tuple[str, ...], reason: str) -> EspalierError:
    """The error for a reason that DVC gives, with a remedy if it comes from the operating system."""
    found = f"Expected `dvc {' '.join(words)}` to succeed; found: {reason}"
    reaction = reaction_to(reason)
    if reaction:
        return reaction.kind(f"{found.removesuffix('.')}: {reaction.remedy}.")
    return EspalierError(found)

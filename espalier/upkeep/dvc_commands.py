"""Commands of DVC, which wait while another DVC command uses the same files."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from espalier import dvc_messages
from espalier.interpreter import python_module
from espalier.waiting import Reminder

_PAUSE = 2.0  # seconds before DVC is asked again


def call_dvc(root: Path, *words: str, say: Callable[[str], None]) -> str:
    """Run a command of DVC in a project; returns its output.

    Args:
        root: the project.
        words: the command and its arguments. `--quiet` would silence the reason of a failure too.
        say: receives a sentence while another command is waited for.

    Raises:
        TryAgain: if it failed in a way that may pass by itself; the message has DVC's reason.
        BadInput: if it failed otherwise.
    """
    environment, reminder = os.environ | {"DVC_NO_ANALYTICS": "1"}, Reminder(say)
    # without --wait-for-lock, which waits in silence
    command = python_module("dvc", *words)
    while True:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        # with a full disk under its cache, DVC can print an error and exit with 0
        if done.returncode == 0 and not dvc_messages.FAILED.search(done.stderr):
            return done.stdout
        reason = " ".join((done.stderr or done.stdout).split())
        if not dvc_messages.BUSY.search(reason):
            raise dvc_messages.failure(" ".join(("dvc", *words)), reason)
        reminder.say("waiting: another DVC command uses the same files")
        time.sleep(_PAUSE)

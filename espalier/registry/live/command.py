"""The command that starts the live worker."""

import sys
from pathlib import Path


def worker_command(root: Path) -> list[str]:
    """The command of the live worker of a project; it runs until its standard input is closed."""
    return [sys.executable, "-m", "espalier.registry.live.live_worker", str(root)]

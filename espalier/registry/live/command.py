"""The command that starts the live worker."""

from pathlib import Path

from espalier.interpreter import python_module


def worker_command(root: Path) -> list[str]:
    """The command of the live worker of a project; it runs until its standard input is closed."""
    return python_module("espalier.registry.live.live_worker", str(root))

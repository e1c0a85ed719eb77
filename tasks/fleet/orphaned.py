"""A flow run whose worker was killed: its stage can still be ended."""

import os

from rich.console import Console


def survive_the_worker() -> None:
    """Let lines for the terminal go nowhere, from now on in this process, once their reader is gone.

    Prefect prints through Rich, which ends the process at the first line that meets a pipe without a reader.
    """
    Console.on_broken_pipe = _write_nowhere  # type: ignore[assignment, method-assign]


def _write_nowhere(console: Console) -> None:
    del console
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)

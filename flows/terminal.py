"""What a person sees of a run: one line per thing that happened, with the name of the stage before it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from espalier import paths
from tasks.environment import OPEN_REGISTRY
from tasks.graph import Graph
from tasks.reporting import MARK

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class Lines(logging.Handler):
    """Writes the lines that tasks tell, and nothing that Prefect says about itself."""

    def __init__(self, stream: TextIO, width: int) -> None:
        super().__init__()
        self._stream, self._width = stream, width

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if getattr(record, MARK, False):
            name = getattr(record, "task_run_name", "")
            self._stream.write(f"{name:<{self._width}}  {record.getMessage()}\n")
            self._stream.flush()


@contextmanager
def showing(width: int) -> Iterator[None]:
    """Show what tasks tell on the terminal, the stages' names in a column of this width."""
    handler = Lines(sys.stdout, width)
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(handler)


def preview(graph: Graph) -> None:
    """Show what a run would do."""
    table = Table("stage", "a run would", box=None, pad_edge=False)
    for name in graph.missing_data:
        table.add_row(name, "bring the data")
    for stage in graph.stages:
        act, style = ("make it", None) if stage.stale else ("leave it: unchanged", "dim")
        table.add_row(stage.label, act, style=style)
    Console(highlight=False).print(table)


def print_locations(root: Path) -> None:
    """Show where everything is."""
    lines = (
        f"models    {root / paths.MODELS}",
        f"reports   {root / paths.REPORTS}",
        f"registry  {OPEN_REGISTRY}",
    )
    sys.stdout.write("\n" + "\n".join(lines) + "\n")

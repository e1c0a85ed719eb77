"""The output of a run on the terminal: one line per event, after the name of the stage."""

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
    """Writes the lines that tasks report, and none of Prefect's own."""

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
def lines_on_terminal(width: int) -> Iterator[None]:
    """Show the lines of tasks on the terminal, with the names of stages in a column of this width."""
    handler = Lines(sys.stdout, width)
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(handler)


def preview(graph: Graph) -> None:
    """Print the stages that a run would make."""
    table = Table("stage", "a run would", box=None, pad_edge=False)
    for name in graph.missing_data:
        table.add_row(name, "pull the data")
    for stage in graph.stages:
        act, style = ("make it", None) if stage.stale else ("leave it: unchanged", "dim")
        table.add_row(stage.label, act, style=style)
    Console(highlight=False).print(table)


def print_locations(root: Path) -> None:
    """Print the locations of models, reports and registry."""
    lines = (
        f"models    {root / paths.MODELS}",
        f"reports   {root / paths.REPORTS}",
        f"registry  {OPEN_REGISTRY}",
    )
    sys.stdout.write("\n" + "\n".join(lines) + "\n")

"""The output of a run on the terminal: one line per event, after the name of the stage."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from espalier import paths
from espalier.tasks.environment import locate_registry
from espalier.tasks.graph import Graph
from espalier.tasks.reporting import MARK

# first words of the last line of a stage
_ENDS = ("done", "unchanged", "made before", "made by a worker", "failed")
_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class Lines(logging.Handler):
    """Writes the lines that tasks report, and none of Prefect's own.

    Args:
        write: writes a line.
        width: width of the column with the names of stages.
        ended: called with the name of a stage when it has ended.
    """

    def __init__(
        self, write: Callable[[str], None], width: int, ended: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._write, self._width, self._ended = write, width, ended

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if not getattr(record, MARK, False):
            return
        name, message = getattr(record, "task_run_name", ""), record.getMessage()
        self._write(f"{name:<{self._width}}  {message}")
        if message.startswith(_ENDS):
            self._ended(name)


@contextmanager
def lines_on_terminal(width: int, stages: int) -> Iterator[None]:
    """Show the lines of tasks, and on a terminal a bar of the ended stages below them.

    Args:
        width: width of the column with the names of stages.
        stages: number of stages of the run.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    with ExitStack() as stack:
        handler = Lines(_print, width, lambda name: None)
        if console.is_terminal:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("stages made"),
                TimeElapsedColumn(),
            )
            bar = stack.enter_context(Progress(*columns, console=console, transient=True))
            task, ended = bar.add_task("", total=stages), set[str]()

            def advance(name: str) -> None:
                ended.add(name)
                bar.update(task, completed=len(ended))

            handler = Lines(console.print, width, advance)
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(handler)
            stack.callback(logger.removeHandler, handler)
        yield


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def preview(graph: Graph, queues: Mapping[str, str]) -> None:
    """Print the stages that a run would make, and their queues if workers make them."""
    table = Table("stage", "a run would", box=None, pad_edge=False)
    for name in graph.missing_data:
        table.add_row(name, "pull the data")
    for stage in graph.stages:
        queue = queues.get(stage.label)
        where = f" by a worker of the queue {queue}" if queue else ""
        act, style = (f"make it{where}", None) if stage.stale else ("leave it: unchanged", "dim")
        table.add_row(stage.label, act, style=style)
    Console(highlight=False).print(table)


def print_locations(root: Path) -> None:
    """Print the locations of models, reports and registry."""
    lines = (
        f"models    {root / paths.MODELS}",
        f"reports   {root / paths.REPORTS}",
        f"registry  {locate_registry()}",
    )
    sys.stdout.write("\n" + "\n".join(lines) + "\n")

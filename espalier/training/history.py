"""What is told while something trains: a bar on a terminal, else one JSON line per epoch."""

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

COLUMNS = (
    "step",
    "epoch",
    "loss",
    "validation_loss",
    "accuracy",
    "learning_rate",
    "seconds",
    "time",
)
Row = dict[str, float]
Report = Callable[[Row], None]


def silent(row: Row) -> None:
    """Tell nothing."""
    del row


class Reporter:
    """Reports epochs under a name; use it as a context, call it with every row of the history."""

    def __init__(self, name: str, epochs: int) -> None:
        self._name, self._epochs = name, epochs
        self._bar: Progress | None = None
        if sys.stdout.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[figures]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stdout))

    def __enter__(self) -> "Reporter":
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._epochs, figures="")
        return self

    def __exit__(self, *reason: object) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, row: Row) -> None:
        """Tell one epoch."""
        if self._bar:
            figures = f"loss {row['loss']:.3f}  validation {100 * row['accuracy']:.2f} %"
            self._bar.update(self._task, completed=row["epoch"], figures=figures)
        else:
            line: dict[str, Any] = {"model": self._name, "epochs": self._epochs, **row}
            sys.stdout.write(
                json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in line.items()})
            )
            sys.stdout.write("\n")
            sys.stdout.flush()

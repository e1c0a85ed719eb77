"""Progress of a training: a bar on a terminal, else one JSON line per epoch."""

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from espalier.prediction import CLASSIFICATION, Headline

Row = dict[str, float]


def columns(headline: Headline) -> tuple[str, ...]:
    """The columns of a history, for a task of this headline."""
    measured = ("loss", "validation_loss", headline.name)
    return ("step", "epoch", *measured, "learning_rate", "seconds", "time")


Report = Callable[[Row], None]


def silent(row: Row) -> None:
    """Print nothing."""
    del row


def appended(former: list[Row], rows: list[Row]) -> list[Row]:
    """The rows of a further training, with steps and epochs counted on."""
    last = former[-1] if former else {"step": 0, "epoch": 0}
    shifted = [
        {**row, "step": row["step"] + last["step"], "epoch": row["epoch"] + last["epoch"]}
        for row in rows
    ]
    return [*former, *shifted]


class Reporter:
    """Reports epochs under a name; use it as a context, call it with every row of the history."""

    def __init__(
        self, name: str, epochs: int, headline: Headline = CLASSIFICATION.headline
    ) -> None:
        self._name, self._epochs, self._headline = name, epochs, headline
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
        """Print one epoch."""
        if self._bar:
            score = self._headline.text(row[self._headline.name])
            figures = f"loss {row['loss']:.3f}  validation {score}"
            self._bar.update(self._task, completed=row["epoch"], figures=figures)
        else:
            line: dict[str, Any] = {"model": self._name, "epochs": self._epochs, **row}
            sys.stdout.write(
                json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in line.items()})
            )
            sys.stdout.write("\n")
            sys.stdout.flush()

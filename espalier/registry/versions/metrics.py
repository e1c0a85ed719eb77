"""Figures of a model as MLflow's metrics: its history with the steps and times it had, and what was measured since.

Names tell the file: `history/loss` is a column of `history.csv` (validation, while training), `metrics/loss` is of
`metrics.json`, and the plain ones (`accuracy`, `macs`, ...) are columns of `reports/models.csv` (the test split).
"""

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espalier import files
from espalier.errors import BadInput
from espalier.paths import PAGE, REPORTS, TABLE

_NO_METRIC = frozenset({"step", "epoch", "time", "seconds"})
_WORDS = frozenset(
    {"model", "parent", "by", "device", "front", "worst_class"}
)  # a class may be called "3"
_UNFIT = re.compile(r"[^\w\-. /]")


@dataclass(frozen=True)
class Figure:
    """One value of one metric. `time` is in seconds since 1970."""

    name: str
    value: float
    step: int
    time: float


@dataclass(frozen=True)
class History:
    """What `history.csv` says: figures, and when the training began and ended, if it says so."""

    figures: tuple[Figure, ...] = ()
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Page:
    """The page of the report, and its hash."""

    path: Path
    sha256: str


def read_history(path: Path, now: float) -> History:
    """Read a history; a missing or empty one is empty.

    Args:
        path: The file.
        now: The time of rows that give none.

    Returns:
        A figure for each finite number in a column that is a metric.

    Raises:
        BadInput: If a row has no step.
    """
    if not path.is_file():
        return History()
    figures: list[Figure] = []
    span = None
    for number, row in enumerate(_rows(path), start=2):
        step, time = _number(row.get("step")), _number(row.get("time"))
        if step is None:
            raise BadInput(
                f"Line {number} of {path} should have a number in the column `step`. Found {row.get('step')!r}."
            )
        if time is not None:
            span = (span[0] if span else time - (_number(row.get("seconds")) or 0.0), time)
        figures += figures_of(row, int(step), now if time is None else time)
    return History(tuple(figures), span)


def figures_of(row: Mapping[str, object], step: int, time: float) -> list[Figure]:
    """The figures of one row of a history: a finite number in a column that is a metric is one.

    Args:
        row: Its cells by column, as text or as numbers.
        step: Of the row.
        time: When it was, in seconds since 1970.
    """
    values = ((name, _number(cell)) for name, cell in row.items() if name not in _NO_METRIC)
    return [
        Figure(f"history/{_fit(name)}", value, step, time)
        for name, value in values
        if value is not None
    ]


def read_metrics(path: Path) -> dict[str, float]:
    """The numbers of `metrics.json`; a missing file has none."""
    content = files.read_json(path) if path.is_file() else {}
    numbers = {name: value for name, value in content.items() if isinstance(value, int | float)}
    return {
        f"metrics/{_fit(name)}": float(value)
        for name, value in numbers.items()
        if math.isfinite(value)
    }


def read_report(root: Path) -> dict[str, dict[str, float]]:
    """The figures of `reports/models.csv`, by model: the numbers of all columns but those that hold words.

    Raises:
        BadInput: If it has no column `model`.
    """
    path = root / REPORTS / TABLE
    if not path.is_file():
        return {}
    rows = _rows(path)
    if rows and "model" not in rows[0]:
        raise BadInput(f"{path} should have a column `model`. Found {', '.join(rows[0])}.")
    table = {
        row["model"]: {
            _fit(name): _number(text) for name, text in row.items() if name not in _WORDS
        }
        for row in rows
    }
    return {
        model: {name: value for name, value in numbers.items() if value is not None}
        for model, numbers in table.items()
    }


def read_page(root: Path) -> Page | None:
    """The page `reports/index.html`, if there is one."""
    path = root / REPORTS / PAGE
    return Page(path, files.sha256(path)) if path.is_file() else None


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(cell: object) -> float | None:
    """A finite number, or none: an empty cell, a word and a loss that was not finite are no figures."""
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)

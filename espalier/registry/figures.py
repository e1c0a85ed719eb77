"""Figures of a model as MLflow's metrics: its history with the steps and times it had, and what was measured since.

Names tell the file: `history/loss` is a column of `history.csv` (validation, while training), `metrics/loss` is of
`metrics.json`, and the plain ones (`accuracy`, `macs`, ...) are columns of `reports/models.csv` (the test split).
"""

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

from espalier import files
from espalier.errors import BadInput
from espalier.paths import REPORTS, TABLE

_NO_METRIC = frozenset({"step", "epoch", "time", "seconds"})
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
        values = ((name, _number(text)) for name, text in row.items() if name not in _NO_METRIC)
        figures += [
            Figure(f"history/{_fit(name)}", value, int(step), now if time is None else time)
            for name, value in values
            if value is not None
        ]
    return History(tuple(figures), span)


def read_metrics(path: Path) -> dict[str, float]:
    """The numbers of `metrics.json`; a missing file has none."""
    content = files.read_json(path) if path.is_file() else {}
    numbers = {name: value for name, value in content.items() if isinstance(value, int | float)}
    return {f"metrics/{_fit(name)}": float(value) for name, value in numbers.items() if math.isfinite(value)}


def read_report(root: Path) -> dict[str, dict[str, float]]:
    """The numbers of `reports/models.csv`, by model.

    Raises:
        BadInput: If it has no column `model`.
    """
    path = root / REPORTS / TABLE
    if not path.is_file():
        return {}
    rows = _rows(path)
    if rows and "model" not in rows[0]:
        raise BadInput(f"{path} should have a column `model`. Found {', '.join(rows[0])}.")
    table = {row["model"]: {_fit(name): _number(text) for name, text in row.items() if name != "model"} for row in rows}
    return {
        model: {name: value for name, value in numbers.items() if value is not None} for model, numbers in table.items()
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str | None) -> float | None:
    """A finite number, or none: an empty cell, a word and a loss that was not finite are no figures."""
    try:
        value = float(text or "nan")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)

"""Values of the files of a model as metrics of MLflow.

The name of a metric tells its file: `history/loss` is a column of `history.csv` (validation split,
during training), `metrics/loss` is a key of `metrics.json`, and a plain name (`accuracy`, `macs`,
...) is a column of `reports/models.csv` (test split, deployed file).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espalier import files
from espalier.paths import PAGE, REPORTS, TABLE
from espalier.records import number, read_csv

_PLACES = frozenset(
    {"step", "epoch", "time", "seconds"}
)  # columns of a history that are no metrics
# columns of the report that hold words; a class may be named "3"
_WORDS = frozenset({"model", "parent", "by", "device", "front", "worst_class", "classes"})
DEVICE = "device"  # column of the report, and tag of versions and runs, of the device of latencies
_FORBIDDEN = re.compile(r"[^\w\-. /]")  # characters that MLflow refuses in the name of a metric


@dataclass(frozen=True)
class MetricPoint:
    """One value of one metric.

    Attributes:
        name: Name of the metric.
        value: A finite number.
        step: Optimizer steps of the training so far; 0 for a metric without a history.
        time: Seconds since 1970.
    """

    name: str
    value: float
    step: int
    time: float


@dataclass(frozen=True)
class Evaluated:
    """The row of a model in the report.

    Attributes:
        metrics: Numbers by the name of the metric.
        device: Device of the latencies; empty if the report does not name it.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    device: str = ""


@dataclass(frozen=True)
class History:
    """The content of `history.csv`.

    Attributes:
        points: Values of all metrics, in the order of the rows.
        span: When the training began and ended, in seconds since 1970; None if no row has a time.
    """

    points: tuple[MetricPoint, ...] = ()
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Page:
    """The page of the report.

    Attributes:
        path: Path of the file.
        sha256: Hash of the file.
    """

    path: Path
    sha256: str


def read_history(path: Path | None, now: float) -> History:
    """Read the history of a training.

    Args:
        path: The file; None, a missing or an empty one is an empty history.
        now: Time of rows that have none, in seconds since 1970.

    Raises:
        BadInput: If the file is damaged, or a row has no step.
    """
    if path is None or not path.is_file():
        return History()
    points: list[MetricPoint] = []
    span = None
    for line, row in enumerate(read_csv(path, ("step",)), start=2):
        step = number(path, row, "step", line)
        time = _number(row.get("time"))
        if time is not None:
            duration = _number(row.get("seconds")) or 0.0
            began = span[0] if span else time - duration
            span = (began, time)
        points += points_of(row, int(step), now if time is None else time)
    return History(tuple(points), span)


def points_of(row: Mapping[str, object], step: int, time: float) -> list[MetricPoint]:
    """The metrics of one row of a history: each finite number in a column of a metric.

    Args:
        row: Cells by column, as text or as numbers.
        step: Step of the row.
        time: Time of the row, in seconds since 1970.
    """
    points = []
    for name, cell in row.items():
        value = _number(cell)
        if name not in _PLACES and value is not None:
            points.append(MetricPoint(f"history/{_metric_name(name)}", value, step, time))
    return points


def read_metrics(path: Path | None) -> dict[str, float]:
    """Read the finite numbers of `metrics.json`, by the name of the metric; a missing file has none."""
    content = files.read_json_object(path) if path and path.is_file() else {}
    metrics = {}
    for name, cell in content.items():
        value = _number(cell) if isinstance(cell, int | float) else None
        if value is not None:
            metrics[f"metrics/{_metric_name(name)}"] = value
    return metrics


def read_report(root: Path) -> dict[str, Evaluated]:
    """Read `reports/models.csv`, by model. Columns of words are no metrics.

    Raises:
        BadInput: If the table is damaged or has no column `model`.
    """
    path = root / REPORTS / TABLE
    if not path.is_file():
        return {}
    rows = read_csv(path, ("model",))
    return {row["model"]: Evaluated(_report_metrics(row), row.get(DEVICE, "")) for row in rows}


def read_page(root: Path) -> Page | None:
    """The page `reports/index.html`, if it exists."""
    path = root / REPORTS / PAGE
    return Page(path, files.sha256(path)) if path.is_file() else None


def _report_metrics(row: Mapping[str, str]) -> dict[str, float]:
    metrics = {}
    for name, cell in row.items():
        value = _number(cell)
        if name not in _WORDS and value is not None:
            metrics[_metric_name(name)] = value
    return metrics


def _number(cell: object) -> float | None:
    """The finite number in a cell; None for an empty cell, a word, NaN or infinity."""
    try:
        value = float(str(cell))
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _metric_name(column: str) -> str:
    return _FORBIDDEN.sub("_", column)

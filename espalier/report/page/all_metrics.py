"""All metrics in one sortable table."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from espalier.report.page.contents import Contents, Row
from espalier.report.page.formats import size, times
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag
from espalier.report.terminal import quantity

_EXPLANATION = (
    "Select a head to sort by it. In brackets: 95 % intervals of accuracy and drop, and noise "
    "bands of speed-ups. Speed-ups are against the teacher in the same runtime; the column beside "
    "them compares with the teacher in eager torch, where most of the gain is the runtime's own."
)


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        value: number to sort by; NaN for an empty cell.
        text: the number as it is shown.
        interval: its interval as it is shown; empty if it has none.
    """

    value: float
    text: str
    interval: str = ""


Column = Callable[[Row], Cell]


def all_metrics(contents: Contents) -> Markup:
    """A row per model and a column per metric."""
    titles = (tag("th", title) for title in _COLUMNS)
    heads = tag("tr", tag("th", "model"), tag("th", "by", class_="words"), *titles)
    rows = join(_row(name, row) for name, row in contents.rows.items())
    return section(
        "metrics", "All metrics", _EXPLANATION, scrolled(table(heads, rows, class_="sorts"))
    )


def _row(name: str, row: Row) -> Markup:
    head = tag("th", name, scope="row", title=name)
    operation = tag("td", row["by"], class_="words")
    cells = (_drawn(column(row)) for column in _COLUMNS.values())
    return tag("tr", head, operation, *cells, data_model=name)


def _drawn(cell: Cell) -> Markup:
    if math.isnan(cell.value):
        return tag("td", "", data_value="")
    interval = tag("span", cell.interval, class_="range") if cell.interval else None
    return tag("td", cell.text, interval, data_value=cell.value)


def _percent(metric: str) -> Column:
    def column(row: Row) -> Cell:
        value = 100 * row[metric]
        low = 100 * row[f"{metric}_low"]
        high = 100 * row[f"{metric}_high"]
        return Cell(value, f"{value:.1f}", f"{low:.1f}..{high:.1f}")

    return column


def _speedup(batch: int) -> Column:
    metric = f"speedup_{batch}"

    def column(row: Row) -> Cell:
        value, low, high = row[metric], row[f"{metric}_low"], row[f"{metric}_high"]
        return Cell(value, times(value), f"{low:.1f}..{high:.1f}")

    return column


def _latency(batch: int) -> Column:
    metric = f"latency_{batch}"

    def column(row: Row) -> Cell:
        value = row[f"{metric}_ms"]
        return Cell(value, f"{value:.3g}", f"p95 {row[f'{metric}_p95_ms']:.3g}")

    return column


def _plain(metric: str, spell: Callable[[float], str]) -> Column:
    def column(row: Row) -> Cell:
        value = row[metric]
        return Cell(value, "" if math.isnan(value) else spell(value))

    return column


def _hundredfold(value: float) -> str:
    return f"{100 * value:.1f}"


def _significant(value: float) -> str:
    return f"{value:.2g}"


def _count(value: float) -> str:
    return f"{value:.0f}"


_COLUMNS: dict[str, Column] = {
    "accuracy %": _percent("accuracy"),
    "drop, points": _percent("drop"),
    "p of the drop": _plain("drop_p", _significant),
    "agreement %": _plain("agreement", _hundredfold),
    "forgotten": _plain("forgotten", _count),
    "calibration error %": _plain("ece", _hundredfold),
    "file": _plain("bytes", size),
    "packed": _plain("packed_bytes", size),
    "parameters": _plain("parameters", quantity),
    "MACs": _plain("macs", quantity),
    "memory, batch 1": _plain("memory_1", size),
    "ms, batch 1": _latency(1),
    "speed, batch 1": _speedup(1),
    "against eager": _plain("speedup_eager_1", times),
    "ms, batch 64": _latency(64),
    "speed, batch 64": _speedup(64),
}

"""All metrics in one sortable table."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from espalier.prediction import Heads
from espalier.quantity import number, quantity
from espalier.report.page.contents import Contents, Row
from espalier.report.page.formats import size, times
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag

_EXPLANATION = (
    "Select a head to sort by it. Below the numbers: 95 % intervals of {score} and drop, the upper "
    "bound of the drop of every class, noise bands of speed-ups, and 95th percentiles of latencies. "
    "Speed-ups are against the teacher in the same runtime; the column beside them compares with the "
    "teacher in eager torch, where most of the gain is the runtime's own."
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
    columns = _columns(contents)
    explanation = _EXPLANATION.format(score=contents.score)
    titles = (tag("th", title) for title in columns)
    explanation += _narrowed(contents)
    heads = tag("tr", tag("th", "model"), tag("th", "by", class_="words"), *titles)
    rows = join(_row(name, row, columns.values()) for name, row in contents.rows.items())
    return section(
        "metrics", "All metrics", explanation, scrolled(table(heads, rows, class_="sorts"))
    )


def _narrowed(contents: Contents) -> str:
    """A sentence for each set of classes that is not all classes of the data."""
    models: dict[str, list[str]] = {}
    for name, row in contents.rows.items():
        if row.get("classes"):
            models.setdefault(row["classes"], []).append(name)
    return "".join(
        f" {', '.join(names)}: judged on the test examples of {classes} alone, against the teacher's "
        "answers to the same question."
        for classes, names in models.items()
    )


def _columns(contents: Contents) -> dict[str, Column]:
    """The columns by their titles, except columns that are empty for all models."""
    heads = contents.task.heads if isinstance(contents.task, Heads) else ()
    wanted = {f"{contents.score} %": ("score", _percent), **_ANSWERS}
    for head in heads:
        headline = head.task.headline
        own = {f"{headline.title} %": (headline.name, _percent), **_ANSWERS}
        wanted |= {
            f"{head.name}: {title}": (f"{head.name}.{metric}", column)
            for title, (metric, column) in own.items()
        }
    return {
        title: column(metric)
        for title, (metric, column) in (wanted | _COSTS).items()
        if any(not math.isnan(row.get(metric, math.nan)) for row in contents.rows.values())
    }


def _row(name: str, row: Row, columns: Iterable[Column]) -> Markup:
    head = tag("th", name, scope="row", title=name)
    operation = tag("td", row["by"], class_="words")
    cells = (_drawn(column(row)) for column in columns)
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


def _worst(metric: str) -> Column:
    def column(row: Row) -> Cell:
        value = 100 * row[metric]
        high = 100 * row[f"{metric}_high"]
        name = row[metric.removesuffix("_drop")]
        return Cell(value, f"{value:.1f}", f"{name}, at most {high:.1f}" if name else "")

    return column


def _speedup(metric: str) -> Column:
    def column(row: Row) -> Cell:
        value = row[metric]
        low = row[f"{metric}_low"]
        high = row[f"{metric}_high"]
        return Cell(value, times(value), f"{low:.1f}..{high:.1f}")

    return column


def _latency(metric: str) -> Column:
    def column(row: Row) -> Cell:
        value = row[metric]
        slow = row[f"{metric.removesuffix('_ms')}_p95_ms"]
        return Cell(value, f"{value:.3g}", f"p95 {slow:.3g}")

    return column


def _plain(spell: Callable[[float], str]) -> Callable[[str], Column]:
    def named(metric: str) -> Column:
        def column(row: Row) -> Cell:
            value = row.get(metric, math.nan)  # tables of earlier versions lack some
            return Cell(value, "" if math.isnan(value) else spell(value))

        return column

    return named


def _ranged(metric: str) -> Column:
    def column(row: Row) -> Cell:
        value = row[metric]
        low = row[f"{metric}_low"]
        high = row[f"{metric}_high"]
        return Cell(value, number(value, 4), f"{number(low, 4)}..{number(high, 4)}")

    return column


def _of_seeds(metric: str) -> Column:
    """The mean over several seeds, with their standard deviation and number."""

    def column(row: Row) -> Cell:
        mean = row[metric]
        deviation = row["seeds_std"]
        count = row["seeds"]
        if math.isnan(mean):
            return Cell(mean, "")
        return Cell(mean, f"{100 * mean:.1f}", f"sd {100 * deviation:.2f} of {count:.0f}")

    return column


def _microjoules(value: float) -> str:
    return f"{value:.3g} \N{MICRO SIGN}J"


def _hundredfold(value: float) -> str:
    return f"{100 * value:.1f}"


def _significant(value: float) -> str:
    return f"{value:.2g}"


def _count(value: float) -> str:
    return f"{value:.0f}"


_Columns = dict[str, tuple[str, Callable[[str], Column]]]
"""Columns of the page by their titles: the name of each in `models.csv`, and its cells."""

_ANSWERS: _Columns = {  # of all heads together, and of each
    "drop, points": ("drop", _percent),
    "p of the drop": ("drop_p", _plain(_significant)),
    "agreement %": ("agreement", _plain(_hundredfold)),
    "forgotten": ("forgotten", _plain(_count)),
    "worst class, points": ("worst_class_drop", _worst),
    "not finite": ("not_finite", _plain(_count)),
    "top 5 %": ("top5", _plain(_hundredfold)),
    "calibration error %": ("ece", _plain(_hundredfold)),
    "macro F1 %": ("macro_f1", _plain(_hundredfold)),
    "mean average precision %": ("map", _plain(_hundredfold)),
    "RMSE": ("rmse", _ranged),
    "R2": ("r2", _ranged),
}
_COSTS: _Columns = {
    "all seeds, validation %": ("seeds_mean", _of_seeds),
    "file": ("bytes", _plain(size)),
    "packed": ("packed_bytes", _plain(size)),
    "parameters": ("parameters", _plain(quantity)),
    "MACs": ("macs", _plain(quantity)),
    "energy, estimate": ("energy_uj", _plain(_microjoules)),
    "memory, batch 1": ("memory_1", _plain(size)),
    "ms, batch 1": ("latency_1_ms", _latency),
    "speed, batch 1": ("speedup_1", _speedup),
    "against eager, batch 1": ("speedup_eager_1", _plain(times)),
    "memory, batch 64": ("memory_64", _plain(size)),
    "ms, batch 64": ("latency_64_ms", _latency),
    "speed, batch 64": ("speedup_64", _speedup),
    "against eager, batch 64": ("speedup_eager_64", _plain(times)),
}

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
    "Select a head to sort by it. In brackets: 95 % intervals of {score} and drop, and noise "
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
    """The columns by their titles, without those of other tasks."""
    rows = contents.rows.values()
    known = {name for row in rows for name in row if name in _KNOWN}
    further = {title: column for title, (name, column) in _FURTHER.items() if name in known}
    score = {f"{contents.score} %": _percent("score")}
    return {**score, **_DROPS, **_of_heads(contents), **further, **_COSTS}


def _of_heads(contents: Contents) -> dict[str, Column]:
    """The score and the drop of each head, by their titles; none of a single task."""
    heads = contents.task.heads if isinstance(contents.task, Heads) else ()
    columns: dict[str, Column] = {}
    for head in heads:
        headline = head.task.headline
        columns[f"{head.name}: {headline.title} %"] = _percent(f"{head.name}.{headline.name}")
        columns[f"{head.name}: drop, points"] = _percent(f"{head.name}.drop")
    return columns


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


def _speedup(batch: int) -> Column:
    metric = f"speedup_{batch}"

    def column(row: Row) -> Cell:
        value = row[metric]
        low = row[f"{metric}_low"]
        high = row[f"{metric}_high"]
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
        value = row.get(metric, math.nan)  # tables of earlier versions lack some
        return Cell(value, "" if math.isnan(value) else spell(value))

    return column


def _ranged(metric: str) -> Column:
    def column(row: Row) -> Cell:
        value = row[metric]
        low = row[f"{metric}_low"]
        high = row[f"{metric}_high"]
        return Cell(value, number(value, 4), f"{number(low, 4)}..{number(high, 4)}")

    return column


def _of_seeds(row: Row) -> Cell:
    """The mean over several seeds, with their standard deviation and number."""
    mean = row["seeds_mean"]
    deviation = row["seeds_std"]
    count = row["seeds"]
    if math.isnan(mean):
        return Cell(mean, "")
    return Cell(mean, f"{100 * mean:.1f}", f"sd {100 * deviation:.2f} of {count:.0f}")


def _microjoules(value: float) -> str:
    return f"{value:.3g} \N{MICRO SIGN}J"


def _hundredfold(value: float) -> str:
    return f"{100 * value:.1f}"


def _significant(value: float) -> str:
    return f"{value:.2g}"


def _count(value: float) -> str:
    return f"{value:.0f}"


_DROPS: dict[str, Column] = {
    "drop, points": _percent("drop"),
    "p of the drop": _plain("drop_p", _significant),
    "agreement %": _plain("agreement", _hundredfold),
    "forgotten": _plain("forgotten", _count),
}
_FURTHER: dict[str, tuple[str, Column]] = {  # of some tasks: name of the column in the table
    "calibration error %": ("ece", _plain("ece", _hundredfold)),
    "macro F1 %": ("macro_f1", _plain("macro_f1", _hundredfold)),
    "mean average precision %": ("map", _plain("map", _hundredfold)),
    "RMSE": ("rmse", _ranged("rmse")),
    "R2": ("r2", _ranged("r2")),
    "all seeds, validation %": ("seeds_mean", _of_seeds),
}
_KNOWN = frozenset(name for name, _ in _FURTHER.values())
_COSTS: dict[str, Column] = {
    "file": _plain("bytes", size),
    "packed": _plain("packed_bytes", size),
    "parameters": _plain("parameters", quantity),
    "MACs": _plain("macs", quantity),
    "memory, batch 1": _plain("memory_1", size),
    "energy, estimate": _plain("energy_uj", _microjoules),
    "ms, batch 1": _latency(1),
    "speed, batch 1": _speedup(1),
    "against eager": _plain("speedup_eager_1", times),
    "ms, batch 64": _latency(64),
    "speed, batch 64": _speedup(64),
}

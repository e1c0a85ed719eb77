"""All figures in one table, which can be sorted."""

import math
from collections.abc import Callable

from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, join, scrolled, section, tag
from espalier.report.page.words import size, times
from espalier.report.terminal import quantity

Spelled = tuple[float, str, str]  # the value to sort by, the figure, and its range if it has one


def figures(contents: Contents) -> Markup:
    """A row per model."""
    heads = tag(
        "tr",
        tag("th", "model"),
        tag("th", "by", class_="words"),
        *(tag("th", title) for title in _COLUMNS),
    )
    rows = join(_row(name, row) for name, row in contents.rows.items())
    explanation = (
        "Choose a head to sort by it. In brackets: 95 % intervals of accuracy and drop, noise bands of speed-ups. "
        "Speed-ups are against the teacher in the same runtime; beside them, against the teacher in eager torch, most "
        "of which is the runtime's own gain."
    )
    table = tag("table", tag("thead", heads), tag("tbody", rows), class_="sorts")
    return section("figures", "All figures", explanation, scrolled(table))


def _row(name: str, row: Row) -> Markup:
    cells = [_cell(*spell(row)) for spell in _COLUMNS.values()]
    return tag("tr", tag("th", name, scope="row", title=name), tag("td", row["by"], class_="words"), *cells,
               data_model=name)  # fmt: skip


def _cell(value: float, text: str, around: str) -> Markup:
    if math.isnan(value):
        return tag("td", "", data_value="")
    return tag(
        "td", text, tag("span", around, class_="range") if around else None, data_value=value
    )


def _part(figure: str) -> Callable[[Row], Spelled]:
    def spell(row: Row) -> Spelled:
        value, low, high = (100 * row[f"{figure}{end}"] for end in ("", "_low", "_high"))
        return value, f"{value:.1f}", f"{low:.1f}..{high:.1f}"

    return spell


def _speed(batch: int) -> Callable[[Row], Spelled]:
    def spell(row: Row) -> Spelled:
        value, low, high = (row[f"speedup_{batch}{end}"] for end in ("", "_low", "_high"))
        return value, times(value), f"{low:.1f}..{high:.1f}"

    return spell


def _time(batch: int) -> Callable[[Row], Spelled]:
    def spell(row: Row) -> Spelled:
        value = row[f"latency_{batch}_ms"]
        return value, f"{value:.3g}", f"p95 {row[f'latency_{batch}_p95_ms']:.3g}"

    return spell


def _plain(figure: str, write: Callable[[float], str]) -> Callable[[Row], Spelled]:
    return lambda row: (row[figure], write(row[figure]) if not math.isnan(row[figure]) else "", "")


def _hundredth(value: float) -> str:
    return f"{100 * value:.1f}"


_COLUMNS: dict[str, Callable[[Row], Spelled]] = {
    "accuracy %": _part("accuracy"),
    "drop, points": _part("drop"),
    "p of the drop": _plain("drop_p", lambda value: f"{value:.2g}"),
    "agreement %": _plain("agreement", _hundredth),
    "forgotten": _plain("forgotten", lambda value: f"{value:.0f}"),
    "calibration error %": _plain("ece", _hundredth),
    "file": _plain("bytes", size),
    "packed": _plain("packed_bytes", size),
    "parameters": _plain("parameters", quantity),
    "MACs": _plain("macs", quantity),
    "memory, batch 1": _plain("memory_1", size),
    "ms, batch 1": _time(1),
    "speed, batch 1": _speed(1),
    "against eager": _plain("speedup_eager_1", times),
    "ms, batch 64": _time(64),
    "speed, batch 64": _speed(64),
}

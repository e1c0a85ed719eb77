"""Accuracy against what it costs: bytes, and time."""

import numpy as np

from espalier.judging import front as unbeaten
from espalier.report.page.axes import Axis
from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, join, section, svg, tag
from espalier.report.page.words import short, size, summary

_WIDTH, _HEIGHT = 380, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 370, 10, 244
_LETTER, _LINE = 6.1, 10.0  # what a letter of a label takes
_LONGEST = 17  # letters of a label
_LETTERS = {
    "start": 0.0,
    "middle": 0.5,
    "end": 1.0,
}  # the part of a label that stands left of its anchor

Box = tuple[float, float, float, float]


def front(contents: Contents) -> Markup:
    """Two plots; the models on the front are filled."""
    explanation = (
        "Accuracy on the test images with its 95 % interval, against the bytes of the deployed file and the median "
        "time of a call at batch 1; up and to the left is better. Filled: no other is at once as accurate, as small "
        "and as fast. The dashed line joins those that none beats in the two figures of the plot."
    )
    plots = (
        _plot(contents.rows, "bytes", "bytes of the deployed file"),
        _plot(contents.rows, "latency_1_ms", "milliseconds at batch 1"),
    )
    return section("front", "The front", explanation, tag("div", *plots, class_="plots"))


def _plot(rows: dict[str, Row], cost: str, title: str) -> Markup:
    x = Axis.around((row[cost] for row in rows.values()), _LEFT, _RIGHT, log=True)
    heights = [row[figure] for row in rows.values() for figure in ("accuracy_low", "accuracy_high")]
    y = Axis.around((100 * value for value in heights), _BOTTOM, _TOP)
    drawn = svg(
        _WIDTH, _HEIGHT,
        _grid(x, y, title, sizes=cost == "bytes"),
        tag("path", d=_edge(rows, cost, x, y), class_="edge"),
        join(_point(name, row, x.at(row[cost]), y) for name, row in rows.items()),
        _labels(rows, cost, x, y),
        label=f"Accuracy against {title}", class_="scatter",
    )  # fmt: skip
    return tag("figure", drawn, tag("figcaption", f"Accuracy in %, against {title}"))


def _grid(x: Axis, y: Axis, title: str, *, sizes: bool) -> Markup:
    rows = [
        tag("line", x1=_LEFT, x2=_RIGHT, y1=y.at(tick), y2=y.at(tick), class_="grid")
        + tag("text", f"{tick:g}", x=_LEFT - 5, y=y.at(tick) + 3.5, text_anchor="end", class_="dim")
        for tick in y.ticks()
    ]
    columns = [
        tag("line", y1=_TOP, y2=_BOTTOM, x1=x.at(tick), x2=x.at(tick), class_="grid")
        + tag("text", size(tick) if sizes else f"{tick:g}", x=x.at(tick), y=_BOTTOM + 15, text_anchor="middle",
              class_="dim")
        for tick in x.ticks()
    ]  # fmt: skip
    name = tag(
        "text", f"{title} (logarithmic)", x=_RIGHT, y=_HEIGHT - 6, text_anchor="end", class_="dim"
    )
    return Markup("".join(rows + columns) + name)


def _edge(rows: dict[str, Row], cost: str, x: Axis, y: Axis) -> str:
    """Steps between the models that no other beats in accuracy and this cost."""
    figures = np.array([[-row["accuracy"], row[cost]] for row in rows.values()], dtype=float)
    best = figures[unbeaten(figures)]
    best = best[np.argsort(best[:, 1], kind="stable")]
    corners = [(x.at(float(price)), y.at(-100 * float(loss))) for loss, price in best]
    steps = "".join(f"H{right:.1f}V{top:.1f}" for right, top in corners[1:])
    return f"M{corners[0][0]:.1f} {corners[0][1]:.1f}{steps}" if corners else ""


def _point(name: str, row: Row, x: float, y: Axis) -> Markup:
    low, own, high = (
        y.at(100 * row[figure]) for figure in ("accuracy_low", "accuracy", "accuracy_high")
    )
    told = summary(name, row)
    return tag(
        "g",
        tag("title", told),
        tag("line", x1=x, x2=x, y1=low, y2=high),
        *(tag("line", x1=x - 3, x2=x + 3, y1=end, y2=end) for end in (low, high)),
        tag("circle", cx=x, cy=own, r=4.2, class_="mark"),
        tag("circle", cx=x, cy=own, r=13, class_="reach"),
        class_=f"point by-{row['by']}{' front' if row['front'] else ''}",
        data_model=name,
        data_tip=told,
    )


def _labels(rows: dict[str, Row], cost: str, x: Axis, y: Axis) -> Markup:
    """The names of the models, those on the front first, as far as there is room around the points."""
    marks = {name: _mark(row, cost, x, y) for name, row in rows.items()}
    taken = list(marks.values())
    written = []
    for name in sorted(rows, key=lambda name: not rows[name]["front"]):
        text = short(name, _LONGEST)
        length = _LETTER * len(text)
        for across, base, anchor in _around(marks[name], y.at(100 * rows[name]["accuracy"])):
            start = min(max(across - _LETTERS[anchor] * length, _LEFT + 2.0), _WIDTH - length)
            box = (start, base - _LINE + 2, start + length, base + 2)
            if box[1] > 0 and box[3] < _BOTTOM and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                written.append(tag("text", text, x=start, y=base, class_="label", data_model=name))
                break
    return join(written)


def _mark(row: Row, cost: str, x: Axis, y: Axis) -> Box:
    """What a point and its interval take."""
    across, high, low = (
        x.at(row[cost]),
        y.at(100 * row["accuracy_high"]),
        y.at(100 * row["accuracy_low"]),
    )
    return across - 5, min(high, low), across + 5, max(high, low)


def _around(mark: Box, own: float) -> list[tuple[float, float, str]]:
    """Where the label of a point may stand, best first: beside it, or at the ends of its interval."""
    left, top, right, bottom = mark
    middle = (left + right) / 2
    beside = [(right + 2, own + 3.5, "start"), (left - 2, own + 3.5, "end")]
    ends = [(middle, top - 4, "middle"), (middle, bottom + 11, "middle")]
    corners = [
        (side, base, anchor)
        for base in (top + 6, bottom)
        for side, anchor in ((right, "start"), (left, "end"))
    ]
    further = [(middle, top - 15, "middle"), (middle, bottom + 22, "middle")]
    return [*beside, *ends, *corners, *further]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

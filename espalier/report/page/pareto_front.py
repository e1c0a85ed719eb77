"""The Pareto front: score against file size, and against latency."""

from dataclasses import dataclass

import numpy as np

from espalier.judging import front as on_pareto_front
from espalier.report.page.axes import Axis
from espalier.report.page.chosen import aliases
from espalier.report.page.contents import Contents, Row
from espalier.report.page.formats import short, size, summary
from espalier.report.page.markup import Markup, join, section, svg, tag

_WIDTH, _HEIGHT = 380, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 370, 10, 244
_LETTER, _LINE = 6.1, 10.0  # width of a letter and height of a line of a label
_LONGEST = 17  # letters of a label
_ANCHORS = {"start": 0.0, "middle": 0.5, "end": 1.0}  # fraction of a label left of its anchor
_EXPLANATION = (
    "The {score} on the test split with its 95 % interval, against the bytes of the deployed file "
    "and the median latency at batch 1; up and to the left is better. Filled marks lie on the "
    "Pareto front of all three: no other model is better in one and no worse in the others. The "
    "dashed line is the Pareto front of the two metrics of the plot."
)

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge."""


@dataclass(frozen=True)
class _Plot:
    """A scatter plot of the models.

    Attributes:
        rows: rows of `models.csv`, by model.
        cost: column on the horizontal axis.
        x: horizontal axis.
        y: vertical axis: score in %.
        score: name of the score in words.
        aliases: aliases that would go to a model by the gates, by model.
    """

    rows: dict[str, Row]
    cost: str
    x: Axis
    y: Axis
    score: str
    aliases: dict[str, list[str]]

    def height(self, row: Row, metric: str = "score") -> float:
        """The vertical position of a score."""
        return self.y.at(100 * row[metric])


def pareto_front(contents: Contents) -> Markup:
    """Two plots; models on the Pareto front are filled."""
    chosen = aliases(contents)
    plots = (
        _draw(contents, chosen, "bytes", "bytes of the deployed file"),
        _draw(contents, chosen, "latency_1_ms", "milliseconds at batch 1"),
    )
    explanation = _EXPLANATION.format(score=contents.score)
    others = [name for name in contents.rows if name not in contents.comparable]
    if others:
        explanation += f" Models of other classes are left out: {', '.join(others)}."
    return section("front", "Pareto front", explanation, tag("div", *plots, class_="plots"))


def _draw(contents: Contents, chosen: dict[str, list[str]], cost: str, title: str) -> Markup:
    rows, score = contents.comparable, contents.score
    x = Axis.around((row[cost] for row in rows.values()), _LEFT, _RIGHT, log=True)
    bounds = [row[bound] for row in rows.values() for bound in ("score_low", "score_high")]
    y = Axis.around((100 * bound for bound in bounds), _BOTTOM, _TOP)
    plot = _Plot(rows, cost, x, y, score, chosen)
    drawn = svg(
        _WIDTH,
        _HEIGHT,
        _grid(plot, title),
        tag("path", d=_front_line(plot), class_="edge"),
        join(_point(plot, name, row) for name, row in rows.items()),
        _labels(plot),
        label=f"{score[0].upper()}{score[1:]} against {title}",
        class_="scatter",
    )
    return tag(
        "figure", drawn, tag("figcaption", f"{score[0].upper()}{score[1:]} in %, against {title}")
    )


def _grid(plot: _Plot, title: str) -> Markup:
    rows = [_horizontal(plot.y.at(tick), f"{tick:g}") for tick in plot.y.ticks()]
    spell = size if plot.cost == "bytes" else "{:g}".format
    columns = [_vertical(plot.x.at(tick), spell(tick)) for tick in plot.x.ticks()]
    name = tag(
        "text",
        f"{title} (logarithmic)",
        x=_RIGHT,
        y=_HEIGHT - 6,
        text_anchor="end",
        class_="dim",
    )
    return join([*rows, *columns, name])


def _horizontal(height: float, label: str) -> Markup:
    line = tag("line", x1=_LEFT, x2=_RIGHT, y1=height, y2=height, class_="grid")
    text = tag("text", label, x=_LEFT - 5, y=height + 3.5, text_anchor="end", class_="dim")
    return join([line, text])


def _vertical(across: float, label: str) -> Markup:
    line = tag("line", y1=_TOP, y2=_BOTTOM, x1=across, x2=across, class_="grid")
    text = tag("text", label, x=across, y=_BOTTOM + 15, text_anchor="middle", class_="dim")
    return join([line, text])


def _front_line(plot: _Plot) -> str:
    """Steps through the models on the Pareto front of score and this cost."""
    metrics = [[-row["score"], row[plot.cost]] for row in plot.rows.values()]
    values = np.array(metrics, dtype=float)
    best = values[on_pareto_front(values)]
    best = best[np.argsort(best[:, 1], kind="stable")]
    corners = [
        (plot.x.at(float(cost)), plot.y.at(-100 * float(negative))) for negative, cost in best
    ]
    if not corners:
        return ""
    (left, top), *others = corners
    steps = "".join(f"H{across:.1f}V{down:.1f}" for across, down in others)
    return f"M{left:.1f} {top:.1f}{steps}"


def _point(plot: _Plot, name: str, row: Row) -> Markup:
    """A model's score with its interval."""
    x = plot.x.at(row[plot.cost])
    low = plot.height(row, "score_low")
    high = plot.height(row, "score_high")
    own = plot.height(row)
    tip = summary(name, row, plot.score)
    ends = (tag("line", x1=x - 3, x2=x + 3, y1=end, y2=end) for end in (low, high))
    return tag(
        "g",
        tag("title", tip),
        tag("line", x1=x, x2=x, y1=low, y2=high),
        *ends,
        tag("circle", cx=x, cy=own, r=4.2, class_="mark"),
        tag("circle", cx=x, cy=own, r=13, class_="reach"),
        class_=f"point by-{row['by']}{' front' if row['front'] else ''}",
        data_model=name,
        data_tip=tip,
    )


def _labels(plot: _Plot) -> Markup:
    """Names of models beside their points where there is room: the chosen ones, then the Pareto front."""
    occupied = [_mark(plot, row) for row in plot.rows.values()]
    chosen = plot.aliases
    ordered = sorted(
        plot.rows,
        key=lambda name: (name not in chosen, not plot.rows[name]["front"]),
    )
    written = []
    for name in ordered:
        text = short(name, _LONGEST)
        marked = text + "".join(f" @{alias}" for alias in chosen.get(name, ()))
        for one in dict.fromkeys((marked, text)):
            place = _place(plot, name, one, occupied)
            if place is not None:
                label = tag("text", one, x=place[0], y=place[1], class_="label", data_model=name)
                written.append(label)
                break
    return join(written)


def _place(plot: _Plot, name: str, text: str, occupied: list[Box]) -> tuple[float, float] | None:
    """Left edge and base line of a label, which is added to the occupied boxes; None without room."""
    row = plot.rows[name]
    length = _LETTER * len(text)
    for start, base in _candidates(_mark(plot, row), plot.height(row), length):
        box = (start, base - _LINE + 2, start + length, base + 2)
        if _fits(box, occupied):
            occupied.append(box)
            return start, base
    return None


def _fits(box: Box, occupied: list[Box]) -> bool:
    inside = box[1] > 0 and box[3] < _BOTTOM
    return inside and not any(_overlap(box, other) for other in occupied)


def _mark(plot: _Plot, row: Row) -> Box:
    """The area of a point and its interval."""
    across = plot.x.at(row[plot.cost])
    ends = plot.height(row, "score_low"), plot.height(row, "score_high")
    return across - 5, min(ends), across + 5, max(ends)


def _candidates(mark: Box, own: float, length: float) -> list[tuple[float, float]]:
    """Left edge and base line of a label, best first: beside the point, then above and below.

    Args:
        mark: area of the point and its interval.
        own: vertical position of the point.
        length: width of the label.
    """
    left, top, right, bottom = mark
    middle = (left + right) / 2
    anchors = [
        (right + 2, own + 3.5, "start"),
        (left - 2, own + 3.5, "end"),
        (middle, top - 4, "middle"),
        (middle, bottom + 11, "middle"),
        (right, top + 6, "start"),
        (left, top + 6, "end"),
        (right, bottom, "start"),
        (left, bottom, "end"),
        (middle, top - 15, "middle"),
        (middle, bottom + 22, "middle"),
    ]
    found = []
    for across, base, anchor in anchors:
        start = across - _ANCHORS[anchor] * length
        found.append((min(max(start, _LEFT + 2.0), _WIDTH - length), base))
    return found


def _overlap(one: Box, other: Box) -> bool:
    columns = one[0] < other[2] and other[0] < one[2]
    rows = one[1] < other[3] and other[1] < one[3]
    return columns and rows

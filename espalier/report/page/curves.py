"""The curves of each training: its losses, and the accuracy on the validation split."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from espalier.report.page.axes import Axis
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, section, svg, tag

_WIDTH, _HEIGHT = 340, 132
_HALF = 172  # where the second plot begins
_TOP, _BOTTOM = 8, 112


def curves(contents: Contents) -> Markup:
    """Two small plots per training; the axis of the accuracy is the same for all."""
    histories = {name: contents.history(name) for name in contents.rows}
    trained = {name: history for name, history in histories.items() if len(history)}
    explanation = (
        "By epoch: the loss that was minimised and that on the validation split (left), the accuracy there in % "
        "(right, the same scale for all). Losses of different operations are sums of different terms. "
    )
    without = [name for name in histories if name not in trained]
    if without:
        explanation += f"OperationResult without training: {', '.join(without)}."
    reached = [100 * float(value) for history in trained.values() for value in history["accuracy"]]
    legend = tag(
        "ul", tag("li", tag("span", class_="swatch by-distill"), "training loss; accuracy"),
        tag("li", tag("span", class_="swatch by-prune"), "validation loss"), class_="legend",
    )  # fmt: skip
    cards = join(_card(name, history, reached) for name, history in trained.items())
    return section("curves", "Trainings", explanation, legend, tag("div", cards, class_="cards"))


def _card(name: str, history: pd.DataFrame, reached: Sequence[float]) -> Markup:
    epochs = [float(epoch) for epoch in history["epoch"]]
    losses = [_numbers(history, column) for column in ("loss", "validation_loss")]
    accuracy = [100 * value for value in _numbers(history, "accuracy")]
    best = max((value for value in accuracy if np.isfinite(value)), default=float("nan"))
    drawn = svg(
        _WIDTH, _HEIGHT,
        _panel(30, _HALF - 12, epochs, losses, [value for values in losses for value in values]),
        _panel(_HALF + 26, _WIDTH - 8, epochs, [accuracy], reached),
        label=f"Loss and validation accuracy of {name} by epoch", class_="curves",
    )  # fmt: skip
    said = (
        f"{len(epochs)} epoch{'s' if len(epochs) > 1 else ''}, at best {best:.1f} % on validation"
    )
    return tag("figure", tag("h3", name), drawn, tag("figcaption", said), data_model=name)


def _panel(
    left: float,
    right: float,
    epochs: Sequence[float],
    lines: Sequence[Sequence[float]],
    span: Sequence[float],
) -> Markup:
    x = Axis(min(epochs) - 0.5, max(epochs) + 0.5, left, right)
    y = Axis.around(span, _BOTTOM, _TOP)
    grid = [
        tag("line", x1=left, x2=right, y1=y.at(tick), y2=y.at(tick), class_="grid")
        + tag("text", f"{tick:g}", x=left - 4, y=y.at(tick) + 3.5, text_anchor="end", class_="dim")
        for tick in y.ticks(3)
    ]
    marks = [
        tag("text", f"{epoch:g}", x=x.at(epoch), y=_BOTTOM + 14, text_anchor="middle", class_="dim")
        for epoch in dict.fromkeys((min(epochs), max(epochs)))
    ]
    drawn = []
    for values, which in zip(lines, ("one", "two"), strict=False):
        known = [
            (x.at(epoch), y.at(value))
            for epoch, value in zip(epochs, values, strict=True)
            if np.isfinite(value)
        ]
        if len(known) == 1:
            drawn.append(
                tag("circle", cx=known[0][0], cy=known[0][1], r=2.6, class_=f"dot {which}")
            )
        elif known:
            points = " ".join(f"{across:.1f},{down:.1f}" for across, down in known)
            drawn.append(tag("polyline", points=points, class_=f"curve {which}"))
    return Markup("".join((*grid, *marks, *drawn)))


def _numbers(history: pd.DataFrame, column: str) -> list[float]:
    return (
        [float(value) for value in history[column]]
        if column in history
        else [float("nan")] * len(history)
    )

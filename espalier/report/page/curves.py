"""Training curves: losses, and the score on the validation split, by epoch."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from espalier.report.page.axes import Axis
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, legend, section, svg, tag

_WIDTH, _HEIGHT = 340, 132
_LEFT = 42  # edge of the first plot: room for labels such as 0.724
_HALF = 172  # left edge of the second plot
_TOP, _BOTTOM = 8, 112
_LOSSES = ("loss", "validation_loss")
_EXPLANATION = (
    "By epoch: the training loss and the validation loss (left), and the {score} on the "
    "validation split in % (right, on one scale for all). Losses of different operations are sums "
    "of different terms. "
)


def curves(contents: Contents) -> Markup:
    """Two small plots per training; the score has one scale for all."""
    histories = {name: contents.history(name) for name in contents.rows}
    trained = {name: history for name, history in histories.items() if len(history)}
    untrained = [name for name in histories if name not in trained]
    explanation = _EXPLANATION.format(score=contents.score)
    if untrained:
        explanation += f"Made without training: {', '.join(untrained)}."
    reached = [100 * float(value) for history in trained.values() for value in history["score"]]
    cards = join(_card(name, history, reached) for name, history in trained.items())
    lines = legend(
        [("by-distill", f"training loss; {contents.score}"), ("by-prune", "validation loss")]
    )
    return section("curves", "Training", explanation, lines, tag("div", cards, class_="cards"))


def _card(name: str, history: pd.DataFrame, reached: Sequence[float]) -> Markup:
    """The plots of one training.

    Args:
        name: name of the model.
        history: its history, one row per epoch.
        reached: scores in % of all trainings, which fix the scale.
    """
    epochs = [float(epoch) for epoch in history["epoch"]]
    losses = [_numbers(history, column) for column in _LOSSES]
    score = [100 * value for value in _numbers(history, "score")]
    finite = [value for value in score if np.isfinite(value)]
    best = max(finite, default=float("nan"))
    every_loss = [value for values in losses for value in values]
    drawn = svg(
        _WIDTH,
        _HEIGHT,
        _panel(_LEFT, _HALF - 12, epochs, losses, every_loss),
        _panel(_HALF + 26, _WIDTH - 8, epochs, [score], reached),
        label=f"Loss and validation score of {name} by epoch",
        class_="curves",
    )
    plural = "s" if len(epochs) > 1 else ""
    caption = f"{len(epochs)} epoch{plural}, at best {best:.1f} % on validation"
    return tag("figure", tag("h3", name), drawn, tag("figcaption", caption), data_model=name)


def _panel(
    left: float,
    right: float,
    epochs: Sequence[float],
    lines: Sequence[Sequence[float]],
    span: Sequence[float],
) -> Markup:
    """One plot.

    Args:
        left: left edge.
        right: right edge.
        epochs: numbers of the epochs.
        lines: values of at most two lines, one value per epoch.
        span: values that the vertical axis covers.
    """
    x = Axis(min(epochs) - 0.5, max(epochs) + 0.5, left, right)
    y = Axis.around(span, _BOTTOM, _TOP)
    grid = [_grid_line(y.at(tick), f"{tick:g}", left, right) for tick in y.ticks(3)]
    ends = dict.fromkeys((min(epochs), max(epochs)))
    marks = [
        tag(
            "text",
            f"{epoch:g}",
            x=x.at(epoch),
            y=_BOTTOM + 14,
            text_anchor="middle",
            class_="dim",
        )
        for epoch in ends
    ]
    drawn = [
        _curve(epochs, values, x, y, colour)
        for values, colour in zip(lines, ("one", "two"), strict=False)
    ]
    return join([*grid, *marks, *drawn])


def _grid_line(height: float, label: str, left: float, right: float) -> Markup:
    line = tag("line", x1=left, x2=right, y1=height, y2=height, class_="grid")
    text = tag("text", label, x=left - 4, y=height + 3.5, text_anchor="end", class_="dim")
    return join([line, text])


def _curve(
    epochs: Sequence[float], values: Sequence[float], x: Axis, y: Axis, colour: str
) -> Markup | None:
    """A line through the finite values, or a dot if there is one; None if there is none."""
    known = [
        (x.at(epoch), y.at(value))
        for epoch, value in zip(epochs, values, strict=True)
        if np.isfinite(value)
    ]
    if not known:
        return None
    if len(known) == 1:
        return tag("circle", cx=known[0][0], cy=known[0][1], r=2.6, class_=f"dot {colour}")
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in known)
    return tag("polyline", points=points, class_=f"curve {colour}")


def _numbers(history: pd.DataFrame, column: str) -> list[float]:
    if column not in history:
        return [float("nan")] * len(history)
    return [float(value) for value in history[column]]

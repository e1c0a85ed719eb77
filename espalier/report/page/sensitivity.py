"""Sensitivity: the score that a model loses without half of one layer."""

import math
from collections.abc import Sequence

from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, bar, bar_row, join, section, tag

_FEW = 24  # layers of a model that are shown without unfolding
_TITLE = "Sensitivity of layers"
_EXPLANATION = (
    "The drop of the {score} on validation examples when one layer loses the half of its outputs "
    "with the smallest weights, and nothing is trained after it (Li et al. 2017, section 3.2). A "
    "long bar marks a layer to keep. The models are the parents of pruned models (if nothing was "
    "pruned, the teacher and its students), on one scale. Layers that a sum couples lose the same "
    "outputs, and are named by the first."
)
_MISSING = (
    "Nothing was measured: no network could be cut, or an earlier version of Espalier evaluated it."
)


def sensitivity(contents: Contents) -> Markup:
    """A bar per layer for each model that was measured, in the order of the network."""
    explanation = _EXPLANATION.format(score=contents.score)
    models: dict[str, list[Row]] = {}
    for row in contents.sensitivity:
        if row["model"] in contents.rows:
            models.setdefault(row["model"], []).append(row)
    if not models:
        return section("sensitivity", _TITLE, explanation, tag("p", _MISSING))
    drops = [_drop(row) for rows in models.values() for row in rows]
    worst = max((drop for drop in drops if not math.isnan(drop)), default=0.0)
    cards = (_model(name, rows, worst) for name, rows in models.items())
    return section("sensitivity", _TITLE, explanation, tag("div", *cards, class_="cards"))


def _model(name: str, rows: Sequence[Row], worst: float) -> Markup:
    first = rows[0]
    groups = first["sets"]
    part = "" if len(rows) == groups else f", {len(rows)} of {groups:.0f} sets of layers"
    title = f"{name}: {100 * first['score']:.1f} % of {first['images']:.0f} examples{part}"
    bars = tag("table", tag("tbody", join(_layer(row, worst) for row in rows)), class_="bars")
    opened = {"open": "open"} if len(rows) <= _FEW else {}
    return tag("details", tag("summary", title), bars, data_model=name, **opened)


def _layer(row: Row, worst: float) -> Markup:
    """The bar of one layer; empty if the network does not run without half of it."""
    layers = row["layers"].split()
    others = len(layers) - 1
    note = tag("span", f"and {others} more", class_="range") if others else None
    removed = f"{row['removed']:.0f} of {row['units']:.0f}"
    title = f"without {removed} outputs of {', '.join(layers)}"
    drop = _drop(row)
    if math.isnan(drop):
        labels = ("not alone", tag("span", removed, class_="range"))
        return bar_row(row["layer"], note, bar(0.0), *labels, title=title)
    rise = row["loss_without"] - row["loss"]
    labels = (f"{100 * drop:.1f} points", tag("span", f"loss {rise:+.3f}", class_="range"))
    fraction = drop / worst if worst > 0 else 0.0
    return bar_row(row["layer"], note, bar(fraction), *labels, title=title)


def _drop(row: Row) -> float:
    drop: float = row["score"] - row["score_without"]
    return drop

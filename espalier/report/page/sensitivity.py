"""How much each layer is worth: what is lost when half of it goes."""

import math
from collections.abc import Sequence

from espalier.report.page.bars import bar, line
from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, join, section, tag

_FEW = 24  # layers of a model that are shown without being asked for


def sensitivity(contents: Contents) -> Markup:
    """For each model that was measured, a bar per layer, in the order of the network."""
    models: dict[str, list[Row]] = {}
    for one in contents.sensitivity:
        if one["model"] in contents.rows:
            models.setdefault(one["model"], []).append(one)
    explanation = (
        "What the accuracy on validation images falls by when a layer alone loses the half of its outputs whose "
        "weights are smallest, and nothing is trained after it (Li et al. 2017, section 3.2): a long bar is a layer to "
        "be spared. The models are those that something was pruned from (if nothing was, the teacher and its "
        "students), the scale is the same for all. Layers that a sum couples lose the same outputs, and are named by "
        "the first."
    )
    if not models:
        nothing = (
            "Nothing was measured: no network could be cut, or Espalier did not measure it yet."
        )
        return section(
            "sensitivity", "What half of a layer is worth", explanation, tag("p", nothing)
        )
    worst = max(
        (_drop(one) for rows in models.values() for one in rows if not math.isnan(_drop(one))),
        default=0.0,
    )
    cards = [_model(name, rows, worst) for name, rows in models.items()]
    return section(
        "sensitivity",
        "What half of a layer is worth",
        explanation,
        tag("div", *cards, class_="cards"),
    )


def _model(name: str, rows: Sequence[Row], worst: float) -> Markup:
    first = rows[0]
    of = (
        "" if len(rows) == first["sets"] else f", {len(rows)} of {first['sets']:.0f} sets of layers"
    )
    said = f"{name}: {100 * first['accuracy']:.1f} % of {first['images']:.0f} images{of}"
    table = tag("table", tag("tbody", join(_layer(one, worst) for one in rows)), class_="bars")
    opened = {"open": "open"} if len(rows) <= _FEW else {}
    return tag("details", tag("summary", said), table, data_model=name, **opened)


def _layer(one: Row, worst: float) -> Markup:
    names = one["layers"].split()
    more = tag("span", f"and {len(names) - 1} more", class_="range") if len(names) > 1 else None
    went = f"{one['removed']:.0f} of {one['units']:.0f}"
    title = f"without {went} outputs of {', '.join(names)}"
    drop = _drop(one)
    if math.isnan(drop):
        return line(
            one["layer"],
            more,
            bar(0.0),
            "not alone",
            tag("span", went, class_="range"),
            title=title,
        )
    rise = one["loss_without"] - one["loss"]
    said = f"{100 * drop:.1f} points", tag("span", f"loss {rise:+.3f}", class_="range")
    return line(one["layer"], more, bar(drop / worst if worst > 0 else 0.0), *said, title=title)


def _drop(one: Row) -> float:
    drop: float = one["accuracy"] - one["accuracy_without"]
    return drop

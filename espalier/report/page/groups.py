"""Drops by class: the score that each model lost in each class, or other group."""

from collections.abc import Mapping

from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag

_MOST = 24  # classes that are shown
_FULL = 0.3  # drop at which the colour is strongest
_EXPLANATION = (
    "Points of {score} lost against the teacher within each class, with 95 % intervals that hold "
    "for all classes of a model at once. Red was lost, green was gained; a frame marks a loss "
    "whose interval lies above zero. "
)

Cells = dict[str, dict[str, Row]]


def drops_by_class(contents: Contents) -> Markup:
    """A row per model and a column per class; of many classes, those with the highest bounds."""
    cells = _cells(contents)
    classes = list(dict.fromkeys(row["class"] for row in contents.classes))
    chosen = _worst(classes, cells)
    explanation = _EXPLANATION.format(score=contents.score)
    if len(chosen) < len(classes):
        explanation += (
            f"Of {len(classes)} classes, the {len(chosen)} with the highest upper bounds are shown."
        )
    heads = tag("tr", tag("th", "model"), *(tag("th", name) for name in chosen))
    rows = join(_row(name, [drops.get(one) for one in chosen]) for name, drops in cells.items())
    return section(
        "classes", "Drops by class", explanation, scrolled(table(heads, rows, class_="heat"))
    )


def _cells(contents: Contents) -> Cells:
    """The rows of `classes.csv` by model and class, without the teacher's."""
    cells: Cells = {}
    for row in contents.classes:
        model = row["model"]
        if contents.rows.get(model, {}).get("parent"):
            cells.setdefault(model, {})[row["class"]] = row
    return cells


def _worst(classes: list[str], cells: Mapping[str, Mapping[str, Row]]) -> list[str]:
    """The classes with the highest upper bound of a drop, in their own order."""

    def bound(name: str) -> float:
        return max(
            (row["drop_high"] for drops in cells.values() if (row := drops.get(name))), default=0.0
        )

    highest = sorted(classes, key=lambda name: -bound(name))[:_MOST]
    return sorted(highest, key=classes.index)


def _row(name: str, drops: list[Row | None]) -> Markup:
    head = tag("th", name, scope="row", title=name)
    return tag("tr", head, *(_cell(row) for row in drops), data_model=name)


def _cell(row: Row | None) -> Markup:
    if row is None:  # of a class that the model does not answer
        return tag("td", "")
    drop, low, high = (100 * row[metric] for metric in ("drop", "drop_low", "drop_high"))
    colour = "bad" if drop > 0 else "good"
    opacity = min(abs(row["drop"]) / _FULL, 1.0) * 0.55
    counts = f"{row['examples']:.0f} examples, {row['lost']:.0f} lost, {row['gained']:.0f} gained"
    return tag(
        "td",
        f"{drop:.1f}",
        tag("span", f"{low:.0f}..{high:.0f}", class_="range"),
        style=f"background:rgba(var(--{colour}),{opacity:.2f})",
        class_="sure" if low > 0 else None,
        title=counts,
    )

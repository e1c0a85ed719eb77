"""Which classes pay: the drop of every model in every class."""

from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, join, scrolled, section, tag

_MOST = 24  # classes that are shown
_FULL = 0.3  # the drop that is coloured most


def classes(contents: Contents) -> Markup:
    """A row per model, a column per class; of many classes those that may have lost most."""
    cells: dict[str, dict[str, Row]] = {}
    for row in contents.classes:
        if contents.rows[row["model"]]["parent"]:
            cells.setdefault(row["model"], {})[row["class"]] = row
    known = list(dict.fromkeys(row["class"] for row in contents.classes))
    worst = {
        name: max((of[name]["drop_high"] for of in cells.values()), default=0.0) for name in known
    }
    chosen = sorted(sorted(known, key=lambda name: -worst[name])[:_MOST], key=known.index)
    explanation = (
        "Points of accuracy lost against the teacher within each class, with 95 % intervals that hold for all classes "
        "of a model at once: red was lost, green was gained, and a frame says that the loss is beyond chance. "
    )
    if len(chosen) < len(known):
        explanation += (
            f"Of {len(known)} classes, the {len(chosen)} are shown that may have lost most."
        )
    heads = tag("tr", tag("th", "model"), *(tag("th", name) for name in chosen))
    rows = join(
        tag(
            "tr",
            tag("th", name, scope="row", title=name),
            *(_cell(of[one]) for one in chosen),
            data_model=name,
        )
        for name, of in cells.items()
    )
    table = tag("table", tag("thead", heads), tag("tbody", rows), class_="heat")
    return section("classes", "Drops by class", explanation, scrolled(table))


def _cell(row: Row) -> Markup:
    drop, low, high = (100 * row[figure] for figure in ("drop", "drop_low", "drop_high"))
    colour = "bad" if drop > 0 else "good"
    alpha = min(abs(row["drop"]) / _FULL, 1.0) * 0.55
    told = f"{row['examples']:.0f} images, {row['lost']:.0f} lost, {row['gained']:.0f} gained"
    return tag(
        "td", f"{drop:.1f}", tag("span", f"{low:.0f}..{high:.0f}", class_="range"),
        style=f"background:rgba(var(--{colour}),{alpha:.2f})", class_="sure" if low > 0 else None, title=told,
    )  # fmt: skip

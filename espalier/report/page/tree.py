"""The tree of models as a picture: beside each other on a desk, below each other on a phone."""

from dataclasses import dataclass

from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, join, scrolled, section, svg, tag
from espalier.report.page.words import percent, points, short, size, summary, times

_WIDTH, _HEIGHT = 182, 76
_ACROSS, _DOWN, _STEP = (
    24,
    12,
    15,
)  # gaps between columns and rows; how far children are indented on a phone
_LETTERS = 19  # of a name that fit
_STAR = "\N{BLACK STAR}"


@dataclass(frozen=True)
class _Place:
    x: float
    y: float


def tree(contents: Contents) -> Markup:
    """A card per model, joined to its parent."""
    rows = contents.rows
    children: dict[str, list[str]] = {}
    for name, row in rows.items():
        children.setdefault(row["parent"], []).append(name)
    wide, narrow = _across(children), _below(children)
    kinds = dict.fromkeys(row["by"] for row in rows.values())
    legend = tag(
        "ul", *(tag("li", tag("span", class_=f"swatch by-{by}"), by) for by in kinds),
        tag("li", f"{_STAR} on the front"), class_="legend",
    )  # fmt: skip
    explanation = (
        "What is made from what. Each card has the accuracy and the drop from the teacher in points, both with their "
        "95 % intervals, the bytes of the deployed file (the bar: its part of the teacher's), and how many times as "
        f"fast as the teacher it is at batch 1. {_STAR}: no other is at once as accurate, as small and as fast."
    )
    pictures = (
        scrolled(_picture(rows, wide, "tree across", across=True)),
        scrolled(_picture(rows, narrow, "tree narrow", across=False)),
    )
    return section("tree", "The tree", explanation, legend, *pictures)


def _across(children: dict[str, list[str]]) -> dict[str, _Place]:
    """Generations from left to right, a parent amid its children."""
    places: dict[str, _Place] = {}
    leaves = 0

    def put(name: str, depth: int) -> float:
        nonlocal leaves
        rows = [put(child, depth + 1) for child in children.get(name, [])]
        if not rows:
            leaves += 1
        y = (rows[0] + rows[-1]) / 2 if rows else (leaves - 1) * (_HEIGHT + _DOWN)
        places[name] = _Place(depth * (_WIDTH + _ACROSS), y)
        return y

    for name in children[""]:
        put(name, 0)
    return places


def _below(children: dict[str, list[str]]) -> dict[str, _Place]:
    """One below the other, children indented."""
    places: dict[str, _Place] = {}

    def put(name: str, depth: int) -> None:
        places[name] = _Place(depth * _STEP, len(places) * (_HEIGHT + _DOWN))
        for child in children.get(name, []):
            put(child, depth + 1)

    for name in children[""]:
        put(name, 0)
    return places


def _picture(rows: dict[str, Row], places: dict[str, _Place], kind: str, *, across: bool) -> Markup:
    teacher = next(iter(rows.values()))
    lines = join(
        tag("path", d=_branch(places[rows[name]["parent"]], place, across=across), class_="branch")
        for name, place in places.items()
        if rows[name]["parent"]
    )
    cards = join(_card(name, row, teacher, places[name]) for name, row in rows.items())
    width = max(place.x for place in places.values()) + _WIDTH + 2
    height = max(place.y for place in places.values()) + _HEIGHT + 2
    inside = tag("g", lines, cards, transform="translate(1 1)")
    return svg(width, height, inside, label="The tree of models", class_=kind, scale=False)


def _branch(parent: _Place, child: _Place, *, across: bool) -> str:
    if across:
        middle = child.x - _ACROSS / 2
        return f"M{parent.x + _WIDTH} {parent.y + _HEIGHT / 2}H{middle}V{child.y + _HEIGHT / 2}H{child.x}"
    return f"M{parent.x + _STEP / 2} {parent.y + _HEIGHT}V{child.y + _HEIGHT / 2}H{child.x}"


def _card(name: str, row: Row, teacher: Row, place: _Place) -> Markup:
    told = summary(name, row)
    part = min(row["bytes"] / teacher["bytes"], 1.0)
    return tag(
        "g",
        tag("title", told),
        tag("rect", class_="card", width=_WIDTH, height=_HEIGHT, rx=4),
        tag("rect", class_="mark", width=5, height=_HEIGHT, rx=2),
        tag("text", short(name, _LETTERS), x=12, y=17, class_="name"),
        tag("text", _STAR, x=_WIDTH - 9, y=34, text_anchor="end", class_="star")
        if row["front"]
        else None,
        tag("text", percent(row), x=12, y=33),
        tag(
            "text",
            f"drop {points(row)}" if row["parent"] else "the teacher",
            x=12,
            y=48,
            class_="dim",
        ),
        tag("text", f"{size(row['bytes'])}, {times(row['speedup_1'])} as fast", x=12, y=63),
        tag("rect", class_="whole", x=12, y=69, width=_WIDTH - 22, height=3),
        tag("rect", class_="mark", x=12, y=69, width=max((_WIDTH - 22) * part, 1.0), height=3),
        class_=f"by-{row['by']}{' front' if row['front'] else ''}",
        transform=f"translate({place.x:g} {place.y:g})",
        data_model=name,
        data_tip=told,
    )

"""The tree of models as a picture: side by side on a wide screen, stacked on a narrow one."""

from dataclasses import dataclass

from espalier.report.page.chosen import aliases
from espalier.report.page.contents import Contents, Row
from espalier.report.page.formats import percent, points, short, size, summary, times
from espalier.report.page.markup import Markup, legend, scrolled, section, svg, tag

_WIDTH, _HEIGHT = 206, 76
_LINE = 15  # of aliases, where a model has any
_ACROSS, _DOWN = 24, 12  # gaps between columns and rows
_INDENT = 15  # of a child in the stacked tree
_LETTERS = 19  # of a name on a card
_OF_ALIASES = 27  # letters of all aliases of a card
_STAR = "\N{BLACK STAR}"
_EXPLANATION = (
    "Each model below the model it is made from. A card has the {score} and the drop from the "
    "teacher in points, both with their 95 % intervals, the bytes of the deployed file (the bar: "
    "as a fraction of the teacher's), and the speed-up over the teacher at batch 1. "
    "\N{BLACK STAR}: on the Pareto front of {score}, file size and latency. @: the alias that goes to "
    "the model by the gates below."
)

Children = dict[str, list[str]]


@dataclass(frozen=True)
class _Position:
    """The upper left corner of a card, and its height."""

    x: float
    y: float
    height: int


def tree(contents: Contents) -> Markup:
    """A card per model, joined to its parent."""
    rows = contents.rows
    explanation = _EXPLANATION.format(score=contents.score)
    children: Children = {}
    for name, row in rows.items():
        children.setdefault(row["parent"], []).append(name)
    operations = dict.fromkeys(row["by"] for row in rows.values())
    colours = [(f"by-{by}", by) for by in operations]
    explained = legend([*colours, ("", f"{_STAR} on the Pareto front")])
    chosen = aliases(contents)
    height = _HEIGHT + (_LINE if chosen else 0)
    across, narrow = _side_by_side(children, height), _stacked(children, height)
    pictures = (
        scrolled(_picture(contents, across, chosen, "tree across", across=True)),
        scrolled(_picture(contents, narrow, chosen, "tree narrow", across=False)),
    )
    return section("tree", "The tree", explanation, explained, *pictures)


def _side_by_side(children: Children, height: int) -> dict[str, _Position]:
    """Generations from left to right, each parent at the middle of its children."""
    positions: dict[str, _Position] = {}
    leaves = 0

    def place(name: str, depth: int) -> float:
        nonlocal leaves
        rows = [place(child, depth + 1) for child in children.get(name, [])]
        if rows:
            y = (rows[0] + rows[-1]) / 2
        else:
            y = leaves * float(height + _DOWN)
            leaves += 1
        positions[name] = _Position(depth * (_WIDTH + _ACROSS), y, height)
        return y

    for name in children[""]:
        place(name, 0)
    return positions


def _stacked(children: Children, height: int) -> dict[str, _Position]:
    """One card per line, children indented."""
    positions: dict[str, _Position] = {}

    def place(name: str, depth: int) -> None:
        line = len(positions)
        positions[name] = _Position(depth * _INDENT, line * (height + _DOWN), height)
        for child in children.get(name, []):
            place(child, depth + 1)

    for name in children[""]:
        place(name, 0)
    return positions


def _picture(
    contents: Contents,
    positions: dict[str, _Position],
    chosen: dict[str, list[str]],
    class_: str,
    *,
    across: bool,
) -> Markup:
    rows = contents.rows
    teacher = next(iter(rows.values()))
    lines = []
    for name, position in positions.items():
        parent = rows[name]["parent"]
        if parent:
            branch = _branch(positions[parent], position, across=across)
            lines.append(tag("path", d=branch, class_="branch"))
    cards = [
        _card(name, row, teacher, positions[name], summary(name, row, contents.score), chosen)
        for name, row in rows.items()
    ]
    width = max(position.x for position in positions.values()) + _WIDTH + 2
    height = max(position.y + position.height for position in positions.values()) + 2
    inside = tag("g", *lines, *cards, transform="translate(1 1)")
    return svg(width, height, inside, label="The tree of models", class_=class_, scale=False)


def _branch(parent: _Position, child: _Position, *, across: bool) -> str:
    """The path from a parent's card to a child's."""
    level = child.y + child.height / 2
    if across:
        middle = child.x - _ACROSS / 2
        return f"M{parent.x + _WIDTH} {parent.y + parent.height / 2}H{middle}V{level}H{child.x}"
    return f"M{parent.x + _INDENT / 2} {parent.y + parent.height}V{level}H{child.x}"


def _card(
    name: str,
    row: Row,
    teacher: Row,
    position: _Position,
    tip: str,
    chosen: dict[str, list[str]],
) -> Markup:
    drop = f"drop {points(row)}" if row["parent"] else "the teacher"
    named = short(" ".join(f"@{alias}" for alias in chosen.get(name, [])), _OF_ALIASES)
    cost = f"{size(row['bytes'])}, {times(row['speedup_1'])} as fast"
    star = tag("text", _STAR, x=_WIDTH - 9, y=34, text_anchor="end", class_="star")
    whole, bottom = _WIDTH - 22, position.height - 7
    filled = whole * min(row["bytes"] / teacher["bytes"], 1.0)
    return tag(
        "g",
        tag("title", tip),
        tag("rect", class_="card", width=_WIDTH, height=position.height, rx=4),
        tag("rect", class_="mark", width=5, height=position.height, rx=2),
        tag("text", short(name, _LETTERS), x=12, y=17, class_="name"),
        star if row["front"] else None,
        tag("text", percent(row), x=12, y=33),
        tag("text", drop, x=12, y=48, class_="dim"),
        tag("text", cost, x=12, y=63),
        tag("text", named, x=12, y=63 + _LINE) if named else None,
        tag("rect", class_="whole", x=12, y=bottom, width=whole, height=3),
        tag("rect", class_="mark", x=12, y=bottom, width=max(filled, 1.0), height=3),
        class_=f"by-{row['by']}{' front' if row['front'] else ''}",
        transform=f"translate({position.x:g} {position.y:g})",
        data_model=name,
        data_tip=tip,
    )

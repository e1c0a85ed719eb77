"""HTML and SVG from Python. Every value that is not markup is escaped, names of users included."""

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"img", "meta", "link", "wbr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element.

    Args:
        name: name of the element.
        children: markup, or values to be escaped; None is omitted.
        attributes: attributes by name; `_` stands for `-`, and a trailing `_` is dropped. An
            attribute with the value None is omitted.

    Example:
        >>> tag("td", "a<b", class_="x")
        '<td class="x">a&lt;b</td>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    opening = f"<{name}{written}>"
    return Markup(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """Children one after the other; None is omitted."""
    return Markup("".join(_markup(child) for child in children if child is not None))


def section(key: str, title: str, explanation: object, *children: object) -> Markup:
    """A section of the page with a sentence on how to read it."""
    note = tag("p", explanation, class_="note")
    return tag("section", tag("h2", title), note, *children, id=key)


def scrolled(*children: object, **attributes: object) -> Markup:
    """Content that scrolls sideways on a narrow screen."""
    return tag("div", *children, class_="scroll", tabindex=0, **attributes)


def svg(
    width: float, height: float, *children: object, label: str, class_: str, scale: bool = True
) -> Markup:
    """A picture of `width` times `height` units; it fills the width it is given if `scale`."""
    sides: dict[str, object] = {} if scale else {"width": width, "height": height}
    box = f"0 0 {_text(width)} {_text(height)}"
    return tag("svg", *children, viewBox=box, role="img", aria_label=label, class_=class_, **sides)


def table(heads: object, rows: object, **attributes: object) -> Markup:
    """A table with one row of heads."""
    return tag("table", tag("thead", heads), tag("tbody", rows), **attributes)


def legend(items: Iterable[tuple[str, str]]) -> Markup:
    """A list of labels, each beside a colour; an empty colour class draws none.

    Args:
        items: class of the colour and label of each item.
    """
    drawn = (
        tag("li", tag("span", class_=f"swatch {colour}") if colour else None, label)
        for colour, label in items
    )
    return tag("ul", *drawn, class_="legend")


def bar(fraction: float, **attributes: object) -> Markup:
    """A bar that is filled to a fraction of its length, clipped to [0, 1]."""
    filled = 100 * min(max(fraction, 0.0), 1.0)
    return tag("span", tag("i", style=f"width:{filled:.1f}%"), **attributes)


def bar_row(name: str, note: object, bars: object, *labels: object, title: str) -> Markup:
    """A row of a table of bars: the name of a layer with a note, its bars, and its labels."""
    return tag(
        "tr",
        tag("th", breakable(name), note, scope="row", title=title),
        tag("td", bars, class_="bar"),
        tag("td", *labels),
    )


def breakable(name: str) -> Markup:
    """A name that may break into lines after each of its dots."""
    *parents, last = name.split(".")
    pieces = [piece for parent in parents for piece in (f"{parent}.", tag("wbr"))]
    return join([*pieces, last])


def _markup(child: object) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

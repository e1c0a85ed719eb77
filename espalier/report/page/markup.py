"""HTML and SVG from Python: whatever is not markup already is escaped, so that no name of a user's becomes any."""

from collections.abc import Iterable
from html import escape

_VOID = frozenset({"img", "meta", "link", "wbr"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element: `tag("td", "a<b", class_="x")` is `<td class="x">a&lt;b</td>`.

    Args:
        name: Of the element.
        children: Markup, or what is to be escaped; None is left out.
        attributes: By name; `_` stands for `-`, and one at the end is dropped. None leaves the attribute out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    opened = f"<{name}{written}>"
    return Markup(opened if name in _VOID else f"{opened}{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """One after the other; None is left out."""
    return Markup("".join(_markup(child) for child in children if child is not None))


def section(key: str, title: str, explanation: object, *children: object) -> Markup:
    """A section of the page, with a sentence on how to read it."""
    return tag("section", tag("h2", title), tag("p", explanation, class_="note"), *children, id=key)


def scrolled(*children: object, **attributes: object) -> Markup:
    """What may be wider than a phone."""
    return tag("div", *children, class_="scroll", tabindex=0, **attributes)


def svg(
    width: float, height: float, *children: object, label: str, class_: str, scale: bool = True
) -> Markup:
    """A picture of `width` times `height` units; it takes the width it is given unless `scale` is off."""
    sides: dict[str, object] = {} if scale else {"width": width, "height": height}
    box = f"0 0 {_text(width)} {_text(height)}"
    return tag("svg", *children, viewBox=box, role="img", aria_label=label, class_=class_, **sides)


def _markup(child: object) -> str:
    return child if isinstance(child, Markup) else escape(str(child))


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

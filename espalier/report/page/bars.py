"""Bars in the rows of a table: legible without a script, and at any width."""

from espalier.report.page.markup import Markup, join, tag


def bar(part: float, **attributes: object) -> Markup:
    """A bar that is filled to a part of its length, from 0 to 1."""
    return tag("span", tag("i", style=f"width:{100 * min(max(part, 0.0), 1.0):.1f}%"), **attributes)


def line(name: str, more: object, drawn: object, *said: object, title: str) -> Markup:
    """A row of a table of bars: the name of a layer and what else is to be said of it, its bars, and its figures."""
    return tag(
        "tr",
        tag("th", broken(name), more, scope="row", title=title),
        tag("td", drawn, class_="bar"),
        tag("td", *said),
    )


def broken(name: str) -> Markup:
    """A name that may go on in another line after each of its dots."""
    *before, last = name.split(".")
    return join((*(part for piece in before for part in (f"{piece}.", tag("wbr"))), last))

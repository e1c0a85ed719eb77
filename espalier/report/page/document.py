"""The page as a whole."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from espalier import __version__
from espalier.report.page.all_metrics import all_metrics
from espalier.report.page.contents import Contents
from espalier.report.page.curves import curves
from espalier.report.page.forgotten import forgotten
from espalier.report.page.gates import gates
from espalier.report.page.groups import drops_by_class
from espalier.report.page.header import header
from espalier.report.page.lineage import lineage
from espalier.report.page.markup import Markup, join, tag
from espalier.report.page.pareto_front import pareto_front
from espalier.report.page.saliency import saliency
from espalier.report.page.script import SCRIPT
from espalier.report.page.sensitivity import sensitivity
from espalier.report.page.style import STYLE
from espalier.report.page.surrogates import surrogates
from espalier.report.page.tree import tree
from espalier.report.page.widths import widths

Section = Callable[[Contents], Markup]

# identity of each section, its entry in the navigation, and the function that renders it
_SECTIONS: dict[str, tuple[str, Section]] = {
    "tree": ("tree", tree),
    "front": ("Pareto front", pareto_front),
    "metrics": ("all metrics", all_metrics),
    "gates": ("gates", gates),
    "classes": ("classes", drops_by_class),
    "forgotten": ("forgotten", forgotten),
    "saliency": ("saliency", saliency),
    "surrogates": ("surrogates", surrogates),
    "widths": ("layers", widths),
    "sensitivity": ("sensitivity", sensitivity),
    "curves": ("training", curves),
    "lineage": ("lineage", lineage),
}
_FOOTER = (
    f"Written by Espalier {__version__}. "
    "This page loads nothing: it can be kept, sent and read anywhere."
)


def render(root: Path, reports: Path) -> bytes:
    """The page of an evaluation, as HTML in UTF-8.

    Args:
        root: root folder of the project, with its models and prepared data.
        reports: folder to which `espalier evaluate` has written its tables.

    Raises:
        BadInput: if a table or a model's file is damaged.
    """
    contents = Contents.read(root, reports)
    links = (tag("a", title, href=f"#{key}") for key, (title, _) in _SECTIONS.items())
    sections = (section(contents) for _, section in _SECTIONS.values())
    body = tag(
        "body",
        header(contents),
        tag("nav", *links),
        tag("main", *sections),
        tag("footer", _FOOTER),
        tag("script", Markup(SCRIPT)),
    )
    html = tag("html", _head(contents.dataset.name), body, lang="en")
    return join((Markup("<!doctype html>\n"), html, "\n")).encode(errors="replace")


def _head(name: str) -> Markup:
    """The head of the document. Its policy blocks every script but ours, whatever a name holds."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{name}: the tree of models"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(STYLE)),
    )

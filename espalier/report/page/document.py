"""The page as a whole."""

import base64
import hashlib
from pathlib import Path

from espalier import __version__
from espalier.report.page.classes import classes
from espalier.report.page.contents import Contents
from espalier.report.page.curves import curves
from espalier.report.page.figures import figures
from espalier.report.page.forgotten import forgotten
from espalier.report.page.front import front
from espalier.report.page.gates import gates
from espalier.report.page.head import head
from espalier.report.page.lineage import lineage
from espalier.report.page.markup import Markup, join, tag
from espalier.report.page.saliency import looks
from espalier.report.page.script import SCRIPT
from espalier.report.page.sensitivity import sensitivity
from espalier.report.page.style import STYLE
from espalier.report.page.tree import tree
from espalier.report.page.widths import widths

_SECTIONS = {
    "tree": ("tree", tree),
    "front": ("front", front),
    "figures": ("all figures", figures),
    "gates": ("gates", gates),
    "classes": ("classes", classes),
    "forgotten": ("forgotten", forgotten),
    "looks": ("where they look", looks),
    "widths": ("layers", widths),
    "sensitivity": ("what layers are worth", sensitivity),
    "curves": ("trainings", curves),
    "lineage": ("lineage", lineage),
}


def render(root: Path, reports: Path) -> bytes:
    """The page of an evaluation, as HTML in UTF-8.

    Args:
        root: The project, with its models and prepared data.
        reports: Where `espalier evaluate` has written its tables.

    Raises:
        BadInput: If a table or a model's file is damaged.
    """
    contents = Contents.of(root, reports)
    ways = tag("nav", *(tag("a", short, href=f"#{key}") for key, (short, _) in _SECTIONS.items()))
    body = tag(
        "body",
        head(contents),
        ways,
        tag("main", *(draw(contents) for _, draw in _SECTIONS.values())),
        tag(
            "footer",
            f"Written by Espalier {__version__}. This page loads nothing: it can be kept, sent and read anywhere.",
        ),
        tag("script", Markup(SCRIPT)),
    )
    page = join(
        (
            Markup("<!doctype html>\n"),
            tag("html", _head(contents.dataset.name), body, lang="en"),
            "\n",
        )
    )
    return page.encode(errors="replace")


def _head(name: str) -> Markup:
    """Nothing is loaded and no script runs but ours: the policy forbids both, whatever a name may hold."""
    ours = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{ours}'"
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

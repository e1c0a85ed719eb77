"""Where each model comes from: data, parents, seed, versions."""

import math
from datetime import UTC, datetime
from typing import Any

from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, tag

_HEADS = (
    "made from",
    "its weights",
    "deployed file",
    "data",
    "seed",
    "made on",
    "versions",
    "seconds",
    "finished",
)


def lineage(contents: Contents) -> Markup:
    """A row per model; hashes are the first digits of SHA-256, whole where one points at them."""
    heads = tag("tr", tag("th", "model"), *(tag("th", head, class_="words") for head in _HEADS))
    rows = join(_row(contents, name, contents.lineage(name)) for name in contents.rows)
    explanation = (
        "What fixes the bits of each model. Hashes are SHA-256; pointing at one shows it whole. All of it, and the "
        "parameters, are in the lineage.json of each model's folder."
    )
    table = tag("table", tag("thead", heads), tag("tbody", rows))
    return section("lineage", "Lineage", explanation, scrolled(table))


def _row(contents: Contents, name: str, known: dict[str, Any]) -> Markup:
    parent = contents.rows[name]["parent"]
    versions = ", ".join(f"{key} {value}" for key, value in known.get("versions", {}).items())
    finished, seconds = known.get("finished"), known.get("seconds", math.nan)
    cells: tuple[object, ...] = (
        parent,
        _hash(known.get("models", {}).get(parent, "")),
        _hash(contents.conditions["models"].get(name, "")),
        _hash(known.get("data", "")),
        known.get("seed", ""),
        known.get("device", ""),
        versions,
        "" if math.isnan(seconds) else f"{seconds:.1f}",
        f"{datetime.fromtimestamp(finished, UTC):%Y-%m-%d %H:%M} UTC" if finished else "",
    )
    return tag("tr", tag("th", name, scope="row", title=name), *(tag("td", cell, class_="words") for cell in cells),
               data_model=name)  # fmt: skip


def _hash(value: str) -> Markup:
    return tag("code", value[:12], title=value) if value else Markup("")

"""Lineage: data, parent, seed, device and versions behind each model."""

import math
from datetime import UTC, datetime
from typing import Any

from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag

_HEADS = (
    "made from",
    "parent's weights",
    "deployed file",
    "data",
    "seed",
    "device",
    "versions",
    "seconds",
    "finished",
)
_EXPLANATION = (
    "The inputs that fix the bits of each model. Hashes are SHA-256; pointing at one shows it in "
    "full. The lineage.json of each model's folder holds all of it, parameters included."
)


def lineage(contents: Contents) -> Markup:
    """A row per model."""
    heads = tag("tr", tag("th", "model"), *(tag("th", head, class_="words") for head in _HEADS))
    rows = join(_row(contents, name, contents.lineage(name)) for name in contents.rows)
    return section("lineage", "Lineage", _EXPLANATION, scrolled(table(heads, rows)))


def _row(contents: Contents, name: str, known: dict[str, Any]) -> Markup:
    parent = contents.rows[name]["parent"]
    versions = known.get("versions", {}).items()
    cells: tuple[object, ...] = (
        parent,
        _hash(known.get("models", {}).get(parent, "")),
        _hash(contents.conditions["models"].get(name, "")),
        _hash(known.get("data", "")),
        known.get("seed", ""),
        known.get("device", ""),
        ", ".join(f"{package} {version}" for package, version in versions),
        _seconds(known.get("seconds", math.nan)),
        _time(known.get("finished")),
    )
    head = tag("th", name, scope="row", title=name)
    return tag("tr", head, *(tag("td", cell, class_="words") for cell in cells), data_model=name)


def _hash(value: str) -> Markup:
    return tag("code", value[:12], title=value) if value else Markup("")


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


def _time(value: float | None) -> str:
    return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M} UTC" if value else ""

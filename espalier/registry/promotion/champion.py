"""The current champion: the version to which an alias points, with its files."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from espalier.errors import BadInput
from espalier.registry.promotion.alias_moves import version_of_alias
from espalier.registry.versions import DEVICE, Registry, fetch, quoted

_SHA256 = re.compile(
    r"[0-9a-f]{64}"
)  # a tag can hold anything, and this one becomes a part of a search


@dataclass(frozen=True)
class Champion:
    """The version to which an alias points.

    Attributes:
        version: number of the version.
        content: content hash of its files.
        folder: folder with its files, downloaded and checked.
        damaged: whether its own files are missing or changed, and those of another version with the same
            content are in the folder.
        device: device of the latencies that the store has of the version; empty if it is unknown.
    """

    version: str
    content: str
    folder: Path
    damaged: bool = False
    device: str = ""


def fetch_champion(registry: Registry, alias: str, folder: Path) -> Champion | None:
    """Download the current version of an alias; None if the alias does not exist.

    Where its files are damaged, those of another version with the same content serve as well.

    Args:
        registry: the registered model.
        alias: name of the alias.
        folder: folder to fill.

    Raises:
        BadInput: if files of the version are missing or changed, and no other version has its content.
        TryAgain: if they cannot be reached now.
    """
    version = version_of_alias(registry, alias)
    if version is None:
        return None
    device = device_of(registry, version)
    try:
        return Champion(version, fetch(registry, version, folder), folder, device=device)
    except BadInput:
        content = content_of(registry, version)
        if _SHA256.fullmatch(content) and _fetch_content(
            registry, content, folder, apart_from=version
        ):
            return Champion(version, content, folder, damaged=True, device=device)
        raise


def content_of(registry: Registry, version: str) -> str:
    """The content hash with which a version is tagged; empty if it has none."""
    return _tag(registry, version, "espalier.content")


def device_of(registry: Registry, version: str) -> str:
    """The device of the latencies with which a version is tagged; empty if it has none."""
    return _tag(registry, version, DEVICE)


def _tag(registry: Registry, version: str, name: str) -> str:
    tags = registry.client.get_model_version(registry.name, version).tags
    return str(tags.get(name, ""))


def _fetch_content(registry: Registry, content: str, folder: Path, *, apart_from: str) -> bool:
    """Download the newest intact version with a content; False if there is none."""
    wanted = f"name = {quoted(registry.name)} and tags.`espalier.content` = '{content}'"
    found = {int(one.version) for one in registry.client.search_model_versions(wanted)}
    for version in sorted(found - {int(apart_from)}, reverse=True):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            return fetch(registry, str(version), folder) == content
        except BadInput:
            continue
    return False

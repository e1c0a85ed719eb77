"""The current champion: the version to which an alias points, with its files."""

from dataclasses import dataclass
from pathlib import Path

from espalier.registry.promotion.alias_moves import version_of_alias
from espalier.registry.versions import Registry, fetch


@dataclass(frozen=True)
class Champion:
    """The version to which an alias points.

    Attributes:
        version: number of the version.
        content: Content hash of its files.
        folder: Folder with its files, downloaded and checked.
    """

    version: str
    content: str
    folder: Path


def fetch_champion(registry: Registry, alias: str, folder: Path) -> Champion | None:
    """Download the current version of an alias; None if the alias does not exist.

    Args:
        registry: The registered model.
        alias: Name of the alias.
        folder: The folder to fill.

    Raises:
        BadInput: If files of the version are missing or changed.
    """
    version = version_of_alias(registry, alias)
    if version is None:
        return None
    content = fetch(registry, version, folder)
    return Champion(version, content, folder)

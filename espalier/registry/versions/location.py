"""Location of the files of a version: every client of the store can set it, so it is checked before a file is read."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from espalier.errors import BadInput
from espalier.registry.versions.registry import Registry

_LOGGED = re.compile(r"models:/(m-[0-9a-f]{1,64})")  # source of a version whose files MLflow logged


def logged_files(registry: Registry, version: Any, address: str) -> str:
    """MLflow's id of the files of a version, after a check of their location.

    Args:
        registry: The registered model.
        version: MLflow's version.
        address: The version, for messages.

    Raises:
        BadInput: If the version refers to files that were not logged to the store, such as
            `file:///etc`, or the store does not have them.
    """
    from mlflow.exceptions import MlflowException

    found = _LOGGED.fullmatch(str(version.source))
    if not found:
        raise BadInput(
            f"Expected {address} to refer to files that were logged to {registry.store.shown} "
            f"(models:/m-...); found the source {str(version.source)[:200]!a}."
        )
    logged = found.group(1)
    try:
        location = str(registry.client.get_logged_model(logged).artifact_location)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise BadInput(
                f"Expected the files {logged} of {address} in {registry.store.shown}; found none."
            ) from None
        raise
    if not is_own_location(registry, logged, location):
        raise BadInput(
            f"Expected the files of {address} to lie in the store {registry.store.shown}; found them in "
            f"{location[:200]!a}."
        )
    return logged


def files_of(registry: Registry, version: str) -> Path:
    """The folder of the files of a version in a local store.

    Args:
        registry: The registered model.
        version: Number of the version.

    Raises:
        BadInput: If the files are missing in the store, or lie outside of it.
    """
    address = f"models:/{registry.name}/{version}"
    found = registry.client.get_model_version(registry.name, version)
    logged = logged_files(registry, found, address)
    location = str(registry.client.get_logged_model(logged).artifact_location)
    return registry.store.home / (_local_folder(location) or location)


def is_own_location(registry: Registry, logged: str, location: str) -> bool:
    """Whether files lie in the store, and no link among them leads out of their folder.

    Args:
        registry: The registered model.
        logged: MLflow's id of the files.
        location: Path or address of their folder.
    """
    folder = _local_folder(location)
    if folder is None:
        return registry.store.database is None  # the files of a local store are local
    if registry.store.database is None:
        # a server whose files lie on a disk that this machine shares
        return folder.parts[-3:] == ("models", logged, "artifacts") and ".." not in folder.parts
    real = Path(os.path.realpath(registry.store.home / folder))
    own = os.path.realpath(registry.store.database.parent / "artifacts")
    return real.is_relative_to(own) and not _has_outward_link(real)


def _local_folder(location: str) -> Path | None:
    """The path of a folder on this machine; None for an address of a server."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(location)


def _has_outward_link(folder: Path) -> bool:
    """Whether a link in a folder leads out of it."""
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(folder):
                return True
    return False

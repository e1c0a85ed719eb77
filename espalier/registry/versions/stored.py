"""Versions found in the store, and whether they hold all files of a model.

MLflow accepts a version whose files do not exist, and it keeps no hashes. So a version counts as
complete only if its tags name the model's content, its run is not deleted, and its files are those
of the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier import files
from espalier.paths import content_files
from espalier.registry.versions.location import is_own_location
from espalier.registry.versions.model import Model
from espalier.registry.versions.registry import Registry
from espalier.registry.versions.requests import model_filter, quoted


@dataclass(frozen=True)
class StoredVersion:
    """A version in the store.

    Attributes:
        version: number of the version.
        run: MLflow's id of the run behind it.
        logged: MLflow's id of its files, the "logged model"; empty if the version refers to other
            files.
    """

    version: str
    run: str
    logged: str


def stored_version(version: Any) -> StoredVersion:
    """Read MLflow's version; its source is the only place that names the logged model."""
    _, prefix, suffix = str(version.source).partition("models:/m-")
    logged = f"m-{suffix}" if prefix else ""
    return StoredVersion(str(version.version), str(version.run_id), logged)


def find_version(registry: Registry, model: Model) -> StoredVersion | None:
    """Find the newest version that holds exactly this model, with all its files."""
    return next(find_versions(registry, model), None)


def find_versions(registry: Registry, model: Model) -> Iterator[StoredVersion]:
    """All versions that hold exactly this model, with all its files, the newest first."""
    wanted = f"name = {quoted(registry.name)} and {model_filter(model.entry, model.content)}"
    found = registry.client.search_model_versions(wanted)
    for version in sorted(found, key=lambda one: int(one.version), reverse=True):
        if is_complete(registry, version, model, hashes=True):
            yield stored_version(version)


def is_complete(registry: Registry, version: Any, model: Model, *, hashes: bool) -> bool:
    """Whether a version holds exactly this model.

    Args:
        registry: The registered model of the version.
        version: MLflow's version.
        model: The expected model.
        hashes: Whether to hash the files of a local store, or to compare only their sizes.
    """
    if version.status != "READY":
        return False
    if version.tags.get("espalier.content") != model.content:
        return False
    stored = stored_version(version)
    if not has_files(registry, stored.logged, model, hashes=hashes):
        return False
    return _has_active_run(registry, stored.run)


def has_files(registry: Registry, logged: str, model: Model, *, hashes: bool) -> bool:
    """Whether a logged model has MLflow's description and all files of a model, with their sizes.

    Args:
        registry: The registered model.
        logged: MLflow's id of the logged model; empty for a version of other files.
        model: The expected model.
        hashes: Whether to hash the files as well, where the store is local.
    """
    from mlflow.exceptions import MlflowException

    if not logged:
        return False
    client = registry.client
    try:
        location = str(client.get_logged_model(logged).artifact_location)
        if not is_own_location(registry, logged, location):
            return False
        listed = client.list_logged_model_artifacts(logged)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    sizes = {file.path: file.file_size for file in listed}
    if "MLmodel" not in sizes:
        return False
    if any(sizes.get(name) != size for name, size in model.sizes().items()):
        return False
    if hashes and registry.store.is_local:
        return _hashes_match(Path(location.removeprefix("file://")), model)
    return True


def _hashes_match(folder: Path, model: Model) -> bool:
    return all(
        files.sha256(folder / name) == model.hashes[name] for name in content_files(model.hashes)
    )


def _has_active_run(registry: Registry, run: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(registry.client.get_run(run).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise

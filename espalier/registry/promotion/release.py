"""Releases: a version exported from one registered model and imported into another, in the same store or another.

In the same store the copy is a version that refers to the same run and the same files, as with
MLflow's `copy_model_version`, but its tags are set in the same request, and it does not depend on
the version it was copied from. In another store run and files are logged again, as in a
registration, and a crash is handled as there. Importing twice adds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier import files
from espalier.errors import BadInput
from espalier.paths import CONTENT
from espalier.registry.connection import Store
from espalier.registry.promotion.champion import fetch_champion
from espalier.registry.promotion.gate_evidence import GateEvidence, find_gate_evidence
from espalier.registry.versions import (
    Model,
    Registry,
    StoredVersion,
    add_reference,
    add_version,
    fetch,
    find_version,
    stored_version,
)

_ORIGIN = "espalier.origin."  # prefix of the tags of a copy; in existing stores


@dataclass(frozen=True)
class Release:
    """A version that was downloaded and checked for export.

    Attributes:
        model: Files and tags of the version, with its origin.
        stored: The version in its registered model.
        metrics: Last metrics of the run that no file of the model holds.
        evidence: The gate report by which the version got its alias.
        name: The registered model of the version.
        store: The store of the registered model.
    """

    model: Model
    stored: StoredVersion
    metrics: Mapping[str, float]
    evidence: GateEvidence
    name: str
    store: Store

    @property
    def origin(self) -> str:
        """The origin, for a reader."""
        return f"{self.name} version {self.stored.version}"


def export_release(registry: Registry, alias: str, folder: Path) -> Release:
    """Download the current version of an alias with its gate evidence. The store is only read.

    Args:
        registry: The registered model.
        alias: Name of the alias.
        folder: The folder to fill with the files; absolute.

    Raises:
        BadInput: If the alias does not exist, files of its version are missing or changed, or there
            is no evidence that they passed the gates.
    """
    champion = fetch_champion(registry, alias, folder)
    if champion is None:
        raise BadInput(
            f"Expected {registry.name}@{alias} to be a version that can be copied; found none. "
            "Run `espalier promote` first."
        )
    evidence = find_gate_evidence(registry, alias, champion.version, champion.content)
    found = registry.client.get_model_version(registry.name, champion.version)
    run = registry.client.get_run(found.run_id)
    # metrics with a slash come from files of the model and are read from there
    metrics = {name: value for name, value in run.data.metrics.items() if "/" not in name}
    return Release(
        model=_model_of(registry, found, folder, evidence),
        stored=stored_version(found),
        metrics=metrics,
        evidence=evidence,
        name=registry.name,
        store=registry.store,
    )


def import_release(registry: Registry, release: Release, draft: Path) -> str:
    """Find or make the version of a registered model that holds a release, and check its files.

    Args:
        registry: The registered model that receives the release.
        release: The release.
        draft: A folder for the files that are downloaded for the check.

    Returns:
        The number of the version.

    Raises:
        BadInput: If the files in the store are not those of the release.
    """
    version = _find_or_add(registry, release).version
    content = fetch(registry, version, draft)
    if content != release.model.content:
        raise BadInput(
            f"Expected version {version} of {registry.name} to hold {release.model.content[:12]}, "
            f"a copy of {release.origin}; found {content[:12]}."
        )
    return version


def _find_or_add(registry: Registry, release: Release) -> StoredVersion:
    found = find_version(registry, release.model)
    if found is not None:
        return found
    is_same_store = registry.store.uri == release.store.uri
    if is_same_store and release.stored.logged:
        return add_reference(registry, release.stored, release.model.tags())
    return add_version(registry, release.model, release.metrics)


def _model_of(registry: Registry, version: Any, folder: Path, evidence: GateEvidence) -> Model:
    """The downloaded folder as a model, with the tags of its version and of its origin."""
    tags = {key: value for key, value in version.tags.items() if not key.startswith("mlflow.")}
    if "espalier.entry" not in tags:
        raise BadInput(
            f"Expected a tag `espalier.entry` at version {version.version} of {registry.name}; "
            "found none."
        )
    origin = {
        f"{_ORIGIN}model": registry.name,
        f"{_ORIGIN}version": str(version.version),
        f"{_ORIGIN}store": registry.store.shown,
        f"{_ORIGIN}run": evidence.run,
    }
    return Model(
        entry=tags["espalier.entry"],
        folder=folder,
        hashes=files.verify(folder, required=CONTENT),
        parent=tags.get("espalier.parent"),
        by=tags.get("espalier.by", ""),
        more=tags | origin,
    )

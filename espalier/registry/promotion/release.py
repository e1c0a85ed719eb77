"""Copying a version into another registered model, of the same store or another, so that a repetition adds nothing.

In one store the copy is a version that refers to the same files: what MLflow's `copy_model_version` asks for, but with
its tags in the same step, and with a source that does not vanish with the version it was copied from. In another store
run and files are logged anew, as by a registration; what a kill left there is finished the next time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espalier import files
from espalier.errors import BadInput
from espalier.registry.connection.store import Store
from espalier.registry.promotion.gate_evidence import Approval, find_approval
from espalier.registry.promotion.move_alias import where
from espalier.registry.versions.fetch import fetch
from espalier.registry.versions.model import Model
from espalier.registry.versions.registry import Held, Registry

_ORIGIN = "espalier.origin."


@dataclass(frozen=True)
class Release:
    """A version that was fetched and checked, and may be taken elsewhere.

    Attributes:
        model: Its files, and its tags with where it comes from.
        held: Where it is in its registry.
        metrics: Of the run behind it, as they were last: those that no file of the model holds.
        approval: The gate report by which it bears its alias.
        name: The registered model it comes from.
        store: Its store.
    """

    model: Model
    held: Held
    metrics: Mapping[str, float]
    approval: Approval
    name: str
    store: Store

    @property
    def origin(self) -> str:
        """Where it comes from, for a reader."""
        return f"{self.name} version {self.held.version}"


def take(registry: Registry, alias: str, folder: Path) -> Release:
    """Fetch the version that bears an alias, and what allows it to. Nothing is written in its store.

    Args:
        registry: Where.
        alias: Which.
        folder: The folder to fill with its files; absolute.

    Raises:
        BadInput: If nobody bears the alias, its files are not intact, or there is no finished move and no gate report
            that they passed.
    """
    version = where(registry.client, registry.name, alias)
    if version is None:
        raise BadInput(
            f"{registry.name}@{alias} should be a version, to be taken elsewhere. Found none: `espalier promote` first."
        )
    held = registry.client.get_model_version(registry.name, version)
    content = fetch(registry, version, folder)
    approval = find_approval(registry, alias, version, content)
    origin = {
        "model": registry.name,
        "version": version,
        "store": registry.store.shown,
        "run": approval.run,
    }
    told = {key: value for key, value in held.tags.items() if not key.startswith("mlflow.")}
    if "espalier.entry" not in told:
        raise BadInput(
            f"Version {version} of {registry.name} should be tagged with its entry. Found no such tag."
        )
    model = Model(
        entry=told["espalier.entry"],
        folder=folder,
        hashes=files.verify(folder),
        parent=told.get("espalier.parent"),
        by=told.get("espalier.by", ""),
        more=told | {f"{_ORIGIN}{key}": value for key, value in origin.items()},
    )
    metrics = registry.client.get_run(held.run_id).data.metrics
    return Release(
        model,
        registry.holds(held),
        {name: value for name, value in metrics.items() if "/" not in name},
        approval,
        registry.name,
        registry.store,
    )


def copy(registry: Registry, shipment: Release) -> str:
    """The version of a registered model that holds a shipment: the one there is, or a new one.

    Args:
        registry: Where to.
        shipment: What.

    Returns:
        The number of the version. Its files have still to be fetched and checked: a store accepts anything.
    """
    held = registry.find(shipment.model)
    if held is None and registry.store.uri == shipment.store.uri and shipment.held.logged:
        held = registry.refer(shipment.held, shipment.model.tags())
    return (held or registry.add(shipment.model, shipment.metrics)).version

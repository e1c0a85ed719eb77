"""The finished models of a project."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier import files
from espalier.errors import BadInput
from espalier.models.architecture import Architecture
from espalier.models.folder import load_verified, read_architecture
from espalier.params import Params
from espalier.params.lineage import identity_of
from espalier.paths import (
    ARCHITECTURE,
    DEPLOYED,
    LINEAGE,
    METRICS,
    MODELS,
    PREPARED,
    STATE,
    WEIGHTS,
    made_model,
    origin,
)
from espalier.records import LineageRecord, MetricsRecord, read_record
from espalier.training.device import to_device


@dataclass(frozen=True)
class Project:
    """A project's folders. Each model folder is verified once.

    Attributes:
        root: folder of the project.
        params: content of `params.yaml`.
        device: device that networks are loaded to.
    """

    root: Path
    params: Params
    device: torch.device
    _hashes: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)

    @property
    def prepared(self) -> Path:
        """Folder of the prepared data."""
        return self.root / PREPARED

    @property
    def drafts(self) -> Path:
        """Folder in which other folders are built before they are renamed."""
        return self.root / STATE / "work"

    def state(self, name: str) -> Path:
        """A folder of checkpoints or locks; none of them is a result."""
        return self.root / STATE / name

    @property
    def bank(self) -> Path:
        """Folder of the outputs of teachers; a queued experiment of DVC shares that of its project."""
        return origin(self.root) / STATE / "bank"

    def folder(self, name: str) -> Path:
        """Folder of a model."""
        return self.root / MODELS / name

    def deployed(self, name: str) -> Path:
        """Deployed file of a model."""
        return self.folder(name) / DEPLOYED

    def hashes(self, name: str) -> dict[str, str]:
        """SHA-256 of every file of a model, by the file's name.

        Raises:
            BadInput: if the folder is incomplete, or a file has changed.
        """
        if name not in self._hashes:
            folder = made_model(self.root, name)
            self._hashes[name] = files.verify(folder, required=(ARCHITECTURE, WEIGHTS))
        return self._hashes[name]

    def weights_hash(self, name: str) -> str:
        """SHA-256 of the weights of a model.

        Raises:
            BadInput: if the folder is incomplete, or a file has changed.
        """
        return self.hashes(name)[WEIGHTS]

    def identity(self, name: str) -> str:
        """Hash of all of a model that results depend on.

        Its weights, and its preprocessing and its concepts if it has any.

        Raises:
            BadInput: if the folder is incomplete, or a file has changed.
        """
        weights, architecture = self.weights_hash(name), self.architecture(name)
        return identity_of(weights, architecture.preprocessing, architecture.concepts)

    def load(self, name: str) -> nn.Module:
        """A model, verified, on the device.

        Raises:
            BadInput: if the folder is incomplete, or a file has changed.
        """
        self.hashes(name)
        network = load_verified(self.folder(name), trusted=self.params.trusted)
        return to_device(network, self.device)

    def architecture(self, name: str) -> Architecture:
        """Architecture of a model."""
        return read_architecture(self.folder(name))

    def lineage(self, name: str) -> dict[str, Any]:
        """Content of a model's `lineage.json`: the inputs that it was made from."""
        return read_record(self.folder(name) / LINEAGE, LineageRecord)

    def base_macs(self, name: str) -> int:
        """Multiply-accumulates of a model's nearest ancestor, or itself, that no pruning has touched."""
        found = self.lineage(name).get("base_macs")
        if found is None:
            raise BadInput(
                f"Expected `base_macs` in {self.folder(name) / LINEAGE}; found none: make {name} "
                "again."
            )
        return int(found)

    def base_parameters(self, name: str) -> int | None:
        """Parameters of the same ancestor; None for models made before this was recorded."""
        return self.lineage(name).get("base_parameters")

    def metrics(self, name: str) -> dict[str, Any]:
        """Content of a model's `metrics.json`."""
        return read_record(self.folder(name) / METRICS, MetricsRecord)

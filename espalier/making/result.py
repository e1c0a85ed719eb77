"""What an operation gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from espalier.training.history import Row


@dataclass(frozen=True)
class OperationResult:
    """The result of an operation.

    Attributes:
        network: The trained network.
        base_macs: Its work before any pruning: what later fractions are of.
        history: A row per epoch.
        deploy: Writes the deployed file, where that is not an export of the network.
        metrics: What else is worth a figure in `metrics.json`.
        records: What else is worth a file in the model's folder, as JSON, by the file's name.
    """

    network: nn.Module
    base_macs: int
    history: list[Row] = field(default_factory=list)
    deploy: Callable[[Path], None] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)

"""The result of an operation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from espalier.making.latency_check import LatencyCheck
from espalier.training.history import Row


@dataclass(frozen=True)
class OperationResult:
    """The result of an operation.

    Attributes:
        network: trained network.
        base_macs: multiply-accumulates of the network before any pruning, the reference of later
            fractions.
        history: a row per epoch.
        deploy: writes the deployed file; None if that is an export of the network.
        metrics: further numbers for `metrics.json`.
        records: further JSON files of the model's folder, by their names.
        notes: sentences for the user about what was done.
        latency_check: comparison with the parent; None if the operation is not meant to speed it up.
    """

    network: nn.Module
    base_macs: int
    history: list[Row] = field(default_factory=list)
    deploy: Callable[[Path], None] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    latency_check: LatencyCheck | None = None

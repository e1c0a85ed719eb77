"""Versions: each model folder as a version of one registered model in MLflow."""

from espalier.registry.versions.add import add_reference, add_version, refresh_version
from espalier.registry.versions.fetch import fetch
from espalier.registry.versions.location import files_of
from espalier.registry.versions.metrics import (
    DEVICE,
    Evaluated,
    MetricPoint,
    Page,
    points_of,
    read_page,
    read_report,
)
from espalier.registry.versions.model import Model, read_model
from espalier.registry.versions.registry import Registry, open_experiment, open_registry
from espalier.registry.versions.requests import METRICS_PER_REQUEST, batches, model_filter, quoted
from espalier.registry.versions.stored import (
    StoredVersion,
    find_version,
    is_complete,
    stored_version,
)

__all__ = [
    "DEVICE",
    "METRICS_PER_REQUEST",
    "Evaluated",
    "MetricPoint",
    "Model",
    "Page",
    "Registry",
    "StoredVersion",
    "add_reference",
    "add_version",
    "batches",
    "fetch",
    "files_of",
    "find_version",
    "is_complete",
    "model_filter",
    "open_experiment",
    "open_registry",
    "points_of",
    "quoted",
    "read_model",
    "read_page",
    "read_report",
    "refresh_version",
    "stored_version",
]

"""Logging of a model as a run of MLflow with its parameters, metrics and files."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from espalier.paths import HISTORY, METRICS
from espalier.registry.connection import hold_lease, remove_lease
from espalier.registry.versions.metrics import MetricPoint, read_history, read_metrics
from espalier.registry.versions.model import Model
from espalier.registry.versions.registry import Registry
from espalier.registry.versions.requests import (
    METRICS_PER_REQUEST,
    PARAMETERS_PER_REQUEST,
    batches,
)

# Tags of a run. Their names and values are in existing stores.
COMPLETE = "espalier.complete"  # MLflow's id of the files, once everything of the run is logged
WRITER = "espalier.writer"  # lease of the process that logs the run, until it is complete
BEGUN = "espalier.begun"  # when the logging began, in seconds since 1970


def log_run(registry: Registry, model: Model, report: Mapping[str, float]) -> tuple[str, str]:
    """Log a model as a complete run.

    The tag `espalier.complete` is set last: a run that has it lacks nothing.

    Args:
        registry: The registered model.
        model: The model to log.
        report: Metrics of the evaluation, by name.

    Returns:
        MLflow's ids of the run and of the files.
    """
    root = registry.store.root
    with hold_lease(root, "registering") as lease:
        ids = _log_run(registry, model, report, lease)
    remove_lease(root, lease, "registering")
    return ids


def log_points(registry: Registry, run: str, logged: str, points: Sequence[MetricPoint]) -> None:
    """Log points of metrics to a run, and assign them to its logged model."""
    from mlflow.entities import Metric

    metrics = [
        Metric(
            point.name,
            point.value,
            int(point.time * 1000),
            point.step,
            model_id=logged,
            run_id=run,
        )
        for point in points
    ]
    for batch in batches(metrics, METRICS_PER_REQUEST):
        registry.client.log_batch(run, metrics=batch)


def single_points(values: Mapping[str, float], now: float) -> list[MetricPoint]:
    """A point at step 0 for each metric that has no history."""
    return [MetricPoint(name, value, 0, now) for name, value in values.items()]


def _log_run(
    registry: Registry, model: Model, report: Mapping[str, float], lease: str
) -> tuple[str, str]:
    client = registry.client
    now = time.time()
    history = read_history(model.path(HISTORY), now)
    began, ended = history.span or model.time_span() or (now, now)
    tags = model.tags() | {WRITER: lease, BEGUN: f"{now:.3f}"}
    created = client.create_run(
        registry.experiment, start_time=int(began * 1000), tags=tags, run_name=model.entry
    )
    run = str(created.info.run_id)
    parameters = model.parameters()
    logged = client.create_logged_model(
        registry.experiment, model.entry, run, tags=model.tags(), params=parameters
    ).model_id
    _log_parameters(registry, run, parameters)
    values = read_metrics(model.path(METRICS)) | dict(report)
    log_points(registry, run, logged, [*history.points, *single_points(values, now)])
    _log_files(registry, model, run, logged)
    client.set_terminated(run, "FINISHED", int(ended * 1000))
    client.set_tag(run, COMPLETE, logged)
    return run, logged


def _log_parameters(registry: Registry, run: str, parameters: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    entities = [Param(name, value) for name, value in parameters.items()]
    for batch in batches(entities, PARAMETERS_PER_REQUEST):
        registry.client.log_batch(run, params=batch)


def _log_files(registry: Registry, model: Model, run: str, logged: str) -> None:
    from mlflow.entities import LoggedModelOutput

    from espalier.registry.versions.onnx_flavor import read_examples, write_flavor

    examples = read_examples(registry.store.root)
    with tempfile.TemporaryDirectory() as draft:
        folder = Path(draft, "model")
        write_flavor(model, folder, run=run, logged=logged, examples=examples)
        registry.client.log_model_artifacts(logged, str(folder))
    registry.client.log_outputs(run, [LoggedModelOutput(logged, 0)])
    registry.client.finalize_logged_model(logged, "READY")

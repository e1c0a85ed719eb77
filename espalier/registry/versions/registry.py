"""Versions of the registered model: found by what they are, and logged so that a kill in the middle cannot fool us.

A registration is a run, its files, and a version. The run is marked complete when everything of it is written, then the
version is made, with its tags, in one step. So a version that bears our tags stands on a complete run; a complete run
without a version lacks only that; and a run without the mark whose writer is dead is a leftover that nobody finishes.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier import files
from espalier.paths import HISTORY, METRICS
from espalier.registry.connection import leases as owners
from espalier.registry.connection.local_database import keep_artifacts_in
from espalier.registry.connection.store import Store
from espalier.registry.versions.metrics import Figure, Page, read_history, read_metrics
from espalier.registry.versions.model import CONTENT_FILES, Model

if TYPE_CHECKING:
    from mlflow import MlflowClient

COMPLETE = "espalier.complete"
WRITER = "espalier.writer"  # who logs the run, as long as it is not complete
BEGUN = "espalier.begun"  # when that began, in seconds since 1970
PAGE_HASH = "espalier.report"  # the tag with the hash of the page that a run has
PAGE_FOLDER = "report"
AT_ONCE = 900  # metrics in a request; servers refuse more than 1000
_PARAMETERS_AT_ONCE = 100


@dataclass(frozen=True)
class Held:
    """Where a model is in the registry: its version, the run behind it, and MLflow's id of the files."""

    version: str
    run: str
    logged: str


@dataclass(frozen=True)
class Registry:
    """One registered model and its experiment, which share a name."""

    client: "MlflowClient"
    store: Store
    name: str
    experiment: str

    def find(self, model: Model) -> Held | None:
        """The newest version that holds exactly this model, with all its files."""
        filters = f"name = {quoted(self.name)} and {tagged(model)}"
        found = self.client.search_model_versions(filters)
        for version in sorted(found, key=lambda one: int(one.version), reverse=True):
            if self.is_complete(version, model, hashes=True):
                return self.holds(version)
        return None

    def holds(self, version: Any) -> Held:
        """Where MLflow's version keeps what it holds."""
        return Held(str(version.version), str(version.run_id), _logged(version))

    def is_complete(self, version: Any, model: Model, *, hashes: bool) -> bool:
        """Whether a version holds exactly this model: MLflow accepts versions whose files do not exist.

        Args:
            version: MLflow's version.
            model: The model it should hold.
            hashes: Whether the files of a local store are read, or only their sizes.

        Returns:
            Whether its tags, its run and its files are as they should be.
        """
        if version.status != "READY" or version.tags.get("espalier.content") != model.content:
            return False
        return self._has_files(_logged(version), model, hashes=hashes) and self._is_live(
            version.run_id
        )

    def add(self, model: Model, report: Mapping[str, float]) -> Held:
        """Make a version of a model, from the run of an interrupted registration if that got so far."""
        run, logged = self._adopt(model) or self._log(model, report)
        return self.refer(Held("", run, logged), model.tags())

    def refer(self, held: Held, tags: Mapping[str, str]) -> Held:
        """Make a version of files that are in the store: of `held`, whatever registered model that is of."""
        version = self.client.create_model_version(
            self.name,
            f"models:/{held.logged}",
            held.run,
            tags=dict(tags),
            model_id=held.logged,
            await_creation_for=60,
        )
        return self.holds(version)

    def refresh(self, held: Held, report: Mapping[str, float], page: Page | None = None) -> None:
        """Log what of the report is not on the run already, figures and page: an evaluation was repeated."""
        known = self.client.get_run(held.run).data
        changed = {
            name: value for name, value in report.items() if known.metrics.get(name) != value
        }
        self._write(held.run, held.logged, _final(changed, time.time()))
        if page and known.tags.get(PAGE_HASH) != page.sha256:
            self.client.log_artifact(held.run, str(page.path), PAGE_FOLDER)
            self.client.set_tag(
                held.run, PAGE_HASH, page.sha256
            )  # after the file: a kill between them repeats it

    def _adopt(self, model: Model) -> tuple[str, str] | None:
        """The complete run of this model that lacks its version; what the dead left is deleted on the way."""
        adopted = None
        for run in self.client.search_runs([self.experiment], tagged(model)):
            logged = run.data.tags.get(COMPLETE)
            if logged is None:
                if not self._is_written(run.data.tags):
                    self._discard(run.info.run_id)
                    owners.forget(self.store.root, run.data.tags.get(WRITER, ""), "registering")
            elif self._has_files(logged, model, hashes=True):
                adopted = run.info.run_id, logged
        return adopted

    def _is_written(self, tags: Mapping[str, str]) -> bool:
        """Whether somebody is logging a run: another machine perhaps, but nobody in a store that we hold alone."""
        if self.store.database is not None:
            return False
        return owners.writes(
            self.store.root, tags.get(WRITER, ""), float(tags.get(BEGUN, 0)), "registering"
        )

    def _discard(self, run: str) -> None:
        for logged in self.client.search_logged_models(
            [self.experiment], f"source_run_id = {quoted(run)}"
        ):
            self.client.delete_logged_model(logged.model_id)
        self.client.delete_run(run)

    def _log(self, model: Model, report: Mapping[str, float]) -> tuple[str, str]:
        with owners.owning(self.store.root, "registering") as writer:
            run = self._log_by(writer, model, report)
        owners.forget(self.store.root, writer, "registering")
        return run

    def _log_by(self, writer: str, model: Model, report: Mapping[str, float]) -> tuple[str, str]:
        now = time.time()
        history = read_history(model.folder / HISTORY, now)
        began, ended = history.span or model.made() or (now, now)
        tags = model.tags() | {WRITER: writer, BEGUN: f"{now:.3f}"}
        run = self.client.create_run(
            self.experiment, start_time=int(began * 1000), tags=tags, run_name=model.entry
        ).info.run_id
        logged = self.client.create_logged_model(
            self.experiment, model.entry, run, tags=model.tags(), params=model.parameters()
        ).model_id
        self._write_parameters(run, model.parameters())
        final = read_metrics(model.folder / METRICS) | dict(report)
        self._write(run, logged, [*history.figures, *_final(final, now)])
        self._write_files(model, run, logged)
        self.client.set_terminated(run, "FINISHED", int(ended * 1000))
        self.client.set_tag(run, COMPLETE, logged)
        return run, logged

    def _write_files(self, model: Model, run: str, logged: str) -> None:
        from mlflow.entities import LoggedModelOutput

        from espalier.registry.versions.onnx_flavor import read_examples, write_flavour

        with tempfile.TemporaryDirectory() as draft:
            folder = Path(draft, "model")
            write_flavour(
                model, folder, run=run, logged=logged, examples=read_examples(self.store.root)
            )
            self.client.log_model_artifacts(logged, str(folder))
        self.client.log_outputs(run, [LoggedModelOutput(logged, 0)])
        self.client.finalize_logged_model(logged, "READY")

    def _write(self, run: str, logged: str, figures: list[Figure]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(one.name, one.value, int(one.time * 1000), one.step, model_id=logged, run_id=run)
            for one in figures
        ]
        for some in batches(metrics, AT_ONCE):
            self.client.log_batch(run, metrics=some)

    def _write_parameters(self, run: str, parameters: dict[str, str]) -> None:
        from mlflow.entities import Param

        for some in batches(
            [Param(name, value) for name, value in parameters.items()], _PARAMETERS_AT_ONCE
        ):
            self.client.log_batch(run, params=some)

    def _is_live(self, run: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _has_files(self, logged: str, model: Model, *, hashes: bool) -> bool:
        from mlflow.exceptions import MlflowException

        if not logged:
            return False  # a version that somebody made of a run's own files
        try:
            location = self.client.get_logged_model(logged).artifact_location
            listed = {
                file.path: file.file_size
                for file in self.client.list_logged_model_artifacts(logged)
            }
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        if "MLmodel" not in listed or any(
            listed.get(name) != size for name, size in model.sizes().items()
        ):
            return False
        if not hashes or self.store.database is None:
            return True
        return all(
            files.sha256(Path(location, name)) == model.hashes[name] for name in CONTENT_FILES
        )


def open_registry(client: "MlflowClient", store: Store, name: str) -> Registry:
    """The registered model `name` and the experiment of that name, made if they are not there."""
    identity = open_experiment(client, store, name)
    if not client.search_registered_models(f"name = {quoted(name)}"):
        with _unless_there():
            client.create_registered_model(
                name, description="Networks made by Espalier; an alias is the entry's name."
            )
    return Registry(client, store, name, identity)


def open_experiment(client: "MlflowClient", store: Store, name: str) -> str:
    """MLflow's id of the experiment `name`, made if it is not there."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        with _unless_there():
            client.create_experiment(name, artifact_location=store.artifacts)
        experiment = client.get_experiment_by_name(name)
    elif experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    identity = str(experiment.experiment_id)
    if store.database is not None and store.artifacts is not None:
        wanted = f"{store.artifacts}/{identity}"
        if experiment.artifact_location != wanted:
            keep_artifacts_in(store.database, identity, wanted)
    return identity


@contextmanager
def _unless_there() -> Iterator[None]:
    """Let something be made that another machine may have made meanwhile: on a server two can be at it."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _logged(version: Any) -> str:
    """MLflow's id of the files of a version, which only its source tells; empty if the source is something else."""
    _, prefix, logged = str(version.source).partition("models:/m-")
    return f"m-{logged}" if prefix else ""


def _final(values: Mapping[str, float], now: float) -> list[Figure]:
    return [Figure(name, value, 0, now) for name, value in values.items()]


def tagged(model: Model) -> str:
    """The filter that finds the runs and versions of a model."""
    return (
        f"tags.`espalier.content` = '{model.content}' and tags.`espalier.entry` = '{model.entry}'"
    )


def quoted(name: str) -> str:
    """A name as a value in MLflow's filters."""
    return f'"{name}"' if "'" in name else f"'{name}'"


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Items in lists of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

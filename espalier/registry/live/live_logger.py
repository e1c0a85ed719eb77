"""The live logger: epochs of running trainings, collected until the store has accepted them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier import files
from espalier.params import read_params
from espalier.registry.connection import connect, find_store
from espalier.registry.live.live_runs import (
    DELETED,
    FAILED,
    FINISHED,
    HEARTBEAT_SECONDS,
    HEARTBEAT_TAG,
    KILLED,
    LEASE_TAG,
    PARAMETERS_TAG,
    RUNNING,
    live_runs,
    reconcile,
)
from espalier.registry.live.position import Position
from espalier.registry.versions import (
    METRICS_PER_REQUEST,
    MetricPoint,
    batches,
    open_experiment,
    points_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOTE = "Live: goes when the model is registered, whose run has the whole history."
_NO_COLUMNS = frozenset(
    {"model", "epochs"}
)  # keys of a stage's line that history.csv does not have


@dataclass
class LiveRun:
    """A run as it should be, and as the store has it.

    Attributes:
        entry: The entry that is trained.
        began: When the training began, in seconds since 1970.
        first: Position of the first epoch.
        last: Position of the last epoch.
        status: Status that the run should have.
        pending: Points that the store has not accepted yet.
        run: MLflow's id of the run; empty before it is created.
        stored_status: Status of the run in the store.
        shift: Steps of the run before the first epoch, if it continues an interrupted run.
    """

    entry: str
    began: float
    first: Position
    last: Position
    status: str = RUNNING
    pending: list[MetricPoint] = field(default_factory=list)
    run: str = ""
    stored_status: str = ""
    shift: int = 0


class LiveLogger:
    """The live runs of one process.

    Only `write` contacts the store; the other methods change memory alone.
    """

    def __init__(self, root: Path, lease: str) -> None:
        self._root, self._lease = root, lease
        # read once: the file may be edited during a training
        self._params = read_params(root)
        self._current: dict[str, LiveRun] = {}  # the newest run of each entry
        self._superseded: list[LiveRun] = []  # older runs that the store does not have completely
        self._is_reconciled = False
        self._last_write = 0.0  # in seconds since 1970

    @property
    def is_training(self) -> bool:
        """Whether any run is running."""
        return any(run.status == RUNNING for run in self._current.values())

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        """Add an epoch, as a stage prints it.

        An epoch that does not continue the run of its entry, as when a training without a
        checkpoint begins again, opens a new run: no step of a run has two values.
        """
        entry, step = str(row["model"]), int(row["step"])
        epoch, epochs = int(row["epoch"]), int(row["epochs"])
        when = float(row.get("time", time.time()))
        run = self._current.get(entry)
        position = run.last.follow(epoch, epochs, step) if run else None
        if run is None or position is None:
            self._supersede(run)
            position = Position(epoch, epochs, step)
            began = when - float(row.get("seconds", 0.0))
            run = LiveRun(entry, began, position, position)
            self._current[entry] = run
        run.last, run.status = position, RUNNING
        cells = {name: cell for name, cell in row.items() if name not in _NO_COLUMNS}
        run.pending += points_of(cells, position.before + position.step, when)

    def on_end(self, entry: str, status: str) -> None:
        """Set the status of an entry whose stage ended; a failed or killed run may be continued later.

        Args:
            entry: The entry.
            status: FINISHED, FAILED or KILLED.
        """
        if entry in self._current:
            self._current[entry].status = status

    def on_disconnect(self) -> None:
        """Mark all running runs as killed: the process that reports the epochs is gone."""
        for run in self._current.values():
            if run.status == RUNNING:
                run.status = KILLED

    def write(self) -> None:
        """Update the store; points that it does not accept are kept for the next call.

        Raises:
            TryAgain: If the store is unavailable.
            BadInput: If the store denies access.
        """
        store = find_store(self._root)
        with connect(store) as client:
            experiment = open_experiment(client, store, self._params.registry.name)
            if not self._is_reconciled:
                reconcile(client, experiment, self._root)
                self._is_reconciled = True
            while self._superseded:
                self._write_run(client, experiment, self._superseded[0])
                del self._superseded[0]
            for entry, run in list(self._current.items()):
                self._write_run(client, experiment, run)
                if run.status == FINISHED:
                    del self._current[entry]
        self._last_write = time.time()

    def _supersede(self, run: LiveRun | None) -> None:
        if run is None:
            return
        if run.status == RUNNING:
            run.status = FAILED
        self._superseded.append(run)

    def _write_run(self, client: "MlflowClient", experiment: str, run: LiveRun) -> None:
        from mlflow.exceptions import MlflowException

        if not run.run:
            if run.status == FINISHED:
                return  # ended before it could be shown; registration logs all of it
            continued = self._find_continued(client, experiment, run)
            run.run = continued or self._create_run(client, experiment, run)
        try:
            self._update_run(client, run)
        except MlflowException as error:
            if error.error_code not in DELETED:
                raise
            run.pending.clear()  # a user deleted the run: it stays deleted

    def _update_run(self, client: "MlflowClient", run: LiveRun) -> None:
        """Log pending points, position and heartbeat, in as few requests as possible."""
        from mlflow.entities import Metric, RunTag

        if run.status == run.stored_status != RUNNING and not run.pending:
            return
        # after a silence, another process may have marked the run as killed
        was_silent = time.time() - self._last_write > 2 * HEARTBEAT_SECONDS
        if run.status == RUNNING and (was_silent or run.stored_status != RUNNING):
            client.update_run(run.run, RUNNING)
        count = len(run.pending)
        metrics = [
            Metric(point.name, point.value, int(point.time * 1000), point.step + run.shift)
            for point in run.pending
        ]
        for batch in batches(metrics, METRICS_PER_REQUEST):
            client.log_batch(run.run, metrics=batch)
        tags = [RunTag(name, value) for name, value in self._progress_tags(run).items()]
        client.log_batch(run.run, tags=tags)
        del run.pending[:count]
        if run.status != RUNNING:
            client.set_terminated(run.run, run.status)
        run.stored_status = run.status

    def _progress_tags(self, run: LiveRun) -> dict[str, str]:
        last = run.last
        position = Position(last.epoch, last.epochs, last.step, last.before + run.shift)
        return {LEASE_TAG: self._lease, HEARTBEAT_TAG: f"{time.time():.0f}", **position.tags()}

    def _find_continued(self, client: "MlflowClient", experiment: str, run: LiveRun) -> str:
        """Find the interrupted run of the same entry and parameters that this run continues.

        Returns:
            MLflow's id of the run, whose steps and status are taken over; empty if there is none.
        """
        parameters = self._parameters_hash(run.entry)
        first = run.first
        for stored in live_runs(client, experiment):
            tags = stored.data.tags
            if stored.info.status not in (FAILED, KILLED):
                continue
            if tags.get("espalier.entry") != run.entry or tags.get(PARAMETERS_TAG) != parameters:
                continue
            reached = Position.read(tags)
            position = reached.follow(first.epoch, first.epochs, first.step) if reached else None
            if position:
                run.shift = position.before
                run.stored_status = stored.info.status
                return str(stored.info.run_id)
        return ""

    def _create_run(self, client: "MlflowClient", experiment: str, run: LiveRun) -> str:
        entry = self._params.entry(run.entry)
        tags = {
            LEASE_TAG: self._lease,
            HEARTBEAT_TAG: f"{time.time():.0f}",
            PARAMETERS_TAG: self._parameters_hash(run.entry),
            "espalier.entry": run.entry,
            "espalier.by": entry.by,
            "espalier.parent": getattr(entry, "parent", ""),
            "mlflow.note.content": _NOTE,
        }
        given = {name: value for name, value in tags.items() if value}
        created = client.create_run(experiment, int(run.began * 1000), given, run.entry)
        run.stored_status = RUNNING
        return str(created.info.run_id)

    def _parameters_hash(self, entry: str) -> str:
        declared = self._params.model_dump(mode="json", include={"seed", "data", "training"})
        own = self._params.entry(entry).model_dump(mode="json", by_alias=True)
        return files.digest([declared, own])

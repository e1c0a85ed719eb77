"""Writing live runs: what was heard of the trainings, kept until the store has taken it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier import files
from espalier.params import read_params
from espalier.registry.connection.store import connect, find_store
from espalier.registry.live.live_runs import (
    BEAT,
    FAILED,
    FINISHED,
    GONE,
    KILLED,
    LIVE,
    MADE_FROM,
    RUNNING,
    SEEN,
    Position,
    live_runs,
    settle,
)
from espalier.registry.versions.metrics import Figure, figures_of
from espalier.registry.versions.registry import AT_ONCE, batches, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOTE = "Live: goes when the model is registered, whose run has the whole history."
_WORDS = frozenset({"model", "epochs"})  # in a line of a stage, what is no column of its history


@dataclass
class Curve:
    """One live run, as it should be and as the store has it.

    Attributes:
        entry: What trains.
        began: When, in seconds since 1970.
        first: Where it was first heard of.
        last: Where it is now.
        status: As it should be.
        figures: Those that the store has not got yet.
        run: The run; empty while there is none.
        written: Its status in the store.
        shift: Steps of the run before the first, where it goes on from one that was stopped.
    """

    entry: str
    began: float
    first: Position
    last: Position
    status: str = RUNNING
    figures: list[Figure] = field(default_factory=list)
    run: str = ""
    written: str = ""
    shift: int = 0


class Writer:
    """The live runs of one owner. Hearing costs nothing; `write` talks to the store."""

    def __init__(self, root: Path, owner: str) -> None:
        self._root, self._owner = root, owner
        self._params = read_params(
            root
        )  # as they are now: they may be edited while something trains
        self._curves: dict[str, Curve] = {}  # the present one of each entry
        self._left: list[Curve] = []  # others that the store has not got whole
        self._settled = False
        self._last = 0.0  # when the store last took something, in seconds since 1970

    @property
    def running(self) -> bool:
        """Whether anything trains."""
        return any(curve.status == RUNNING for curve in self._curves.values())

    def hear(self, row: Mapping[str, Any]) -> None:
        """Take an epoch: what a stage prints of it.

        An epoch that is no further than the last one, as when a training without a checkpoint begins again, opens a run
        of its own: no step of a run has two values.
        """
        entry, epoch, epochs, step = (
            str(row["model"]),
            int(row["epoch"]),
            int(row["epochs"]),
            int(row["step"]),
        )
        when = float(row.get("time", time.time()))
        curve = self._curves.get(entry)
        place = curve.last.follow(epoch, epochs, step) if curve else None
        if curve is None or place is None:
            if curve:
                curve.status = FAILED if curve.status == RUNNING else curve.status
                self._left.append(curve)
            place = Position(epoch, epochs, step)
            curve = self._curves[entry] = Curve(
                entry, when - float(row.get("seconds", 0.0)), place, place
            )
        curve.last, curve.status = place, RUNNING
        cells = {name: cell for name, cell in row.items() if name not in _WORDS}
        curve.figures += figures_of(cells, place.before + place.step, when)

    def end(self, entry: str, status: str) -> None:
        """Take the end of an attempt at an entry: FINISHED, FAILED or KILLED. After the latter two it may go on."""
        if entry in self._curves:
            self._curves[entry].status = status

    def abandon(self) -> None:
        """Whoever tells of trainings is gone: what was running is killed."""
        for curve in self._curves.values():
            curve.status = KILLED if curve.status == RUNNING else curve.status

    def write(self) -> None:
        """Bring the store up to date; what it does not take is kept for the next time.

        Raises:
            TryAgain: If the store is away.
            BadInput: If it refuses us.
        """
        store = find_store(self._root)
        with connect(store) as client:
            experiment = open_experiment(client, store, self._params.registry.name)
            if not self._settled:
                settle(client, experiment, self._root)
                self._settled = True
            while self._left:
                self._write(client, experiment, self._left[0])
                del self._left[0]
            for entry, curve in list(self._curves.items()):
                self._write(client, experiment, curve)
                if curve.status == FINISHED:
                    del self._curves[entry]
        self._last = time.time()

    def _write(self, client: "MlflowClient", experiment: str, curve: Curve) -> None:
        from mlflow.exceptions import MlflowException

        if not curve.run:
            if curve.status == FINISHED:
                return  # nobody saw it live, and registration logs all of it
            curve.run = self._continued(client, experiment, curve) or self._open(
                client, experiment, curve
            )
        try:
            self._bring(client, curve)
        except MlflowException as error:
            if error.error_code not in GONE:
                raise
            curve.figures.clear()  # the run was deleted: that is somebody's wish

    def _bring(self, client: "MlflowClient", curve: Curve) -> None:
        """What is new of a curve, as few requests as it takes; with nothing new, a sign of life."""
        from mlflow.entities import Metric, RunTag

        if curve.status == curve.written != RUNNING and not curve.figures:
            return
        cut_off = time.time() - self._last > 2 * BEAT  # others may have taken us for dead
        if curve.status == RUNNING and (cut_off or curve.written != RUNNING):
            client.update_run(curve.run, RUNNING)
        shift, count = curve.shift, len(curve.figures)
        last = Position(
            curve.last.epoch, curve.last.epochs, curve.last.step, curve.last.before + shift
        )
        tags = {LIVE: self._owner, SEEN: f"{time.time():.0f}", **last.tags()}
        metrics = [
            Metric(one.name, one.value, int(one.time * 1000), one.step + shift)
            for one in curve.figures
        ]
        for some in batches(metrics, AT_ONCE):
            client.log_batch(curve.run, metrics=some)
        client.log_batch(curve.run, tags=[RunTag(name, value) for name, value in tags.items()])
        del curve.figures[:count]
        if curve.status != RUNNING:
            client.set_terminated(curve.run, curve.status)
        curve.written = curve.status

    def _continued(self, client: "MlflowClient", experiment: str, curve: Curve) -> str:
        """The run of the same entry that was stopped right before this curve begins; nothing if there is none."""
        made_from = self._made_from(curve.entry)
        first = curve.first
        for run in live_runs(client, experiment):
            tags = run.data.tags
            same = tags.get("espalier.entry") == curve.entry and tags.get(MADE_FROM) == made_from
            former = Position.read(tags)
            if not same or not former or run.info.status not in (FAILED, KILLED):
                continue
            place = former.follow(first.epoch, first.epochs, first.step)
            if place:
                curve.shift = place.before
                curve.written = run.info.status
                return str(run.info.run_id)
        return ""

    def _open(self, client: "MlflowClient", experiment: str, curve: Curve) -> str:
        entry = self._params.entry(curve.entry)
        tags = {
            LIVE: self._owner,
            SEEN: f"{time.time():.0f}",
            MADE_FROM: self._made_from(curve.entry),
            "espalier.entry": curve.entry,
            "espalier.by": entry.by,
            "espalier.parent": getattr(entry, "parent", ""),
            "mlflow.note.content": _NOTE,
        }
        start = int(curve.began * 1000)
        run = client.create_run(
            experiment, start, {name: value for name, value in tags.items() if value}, curve.entry
        )
        curve.written = RUNNING
        return str(run.info.run_id)

    def _made_from(self, entry: str) -> str:
        declared = self._params.model_dump(mode="json", include={"seed", "data", "training"})
        return files.digest(
            [declared, self._params.entry(entry).model_dump(mode="json", by_alias=True)]
        )

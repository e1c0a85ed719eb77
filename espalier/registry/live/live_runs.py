"""Live runs: the curve of an entry while it trains, in the experiment where its registered run will be.

They are told by the tag `espalier.live`, which names who writes them, and have no tag of what a registered run is found
by. Nothing depends on them: registration, which logs the whole history, deletes them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from espalier.registry.connection import leases as owners

if TYPE_CHECKING:
    from mlflow import MlflowClient

LIVE = "espalier.live"  # the owner
SEEN = "espalier.live.seen"  # when the owner last gave a sign of life, in seconds since 1970
MADE_FROM = "espalier.live.parameters"  # the hash of what the entry is declared to be
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
GONE = frozenset(
    {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
)  # what MLflow says of a run that was deleted
BEAT = 60.0  # seconds between two signs of life


@dataclass(frozen=True)
class Position:
    """How far a training got that may have several parts, as a cycle of cuts has, each counted from 1.

    Attributes:
        epoch: The last epoch of the present part.
        epochs: How many that part has.
        step: The last step of the part.
        before: The steps of the parts before it.
    """

    epoch: int
    epochs: int
    step: int
    before: int = 0

    def follow(self, epoch: int, epochs: int, step: int) -> "Position | None":
        """The position of a further epoch: of this part, or the next if this one is complete. Else it is no further."""
        if epochs == self.epochs and epoch > self.epoch and step > self.step:
            return Position(epoch, epochs, step, self.before)
        if self.epoch == self.epochs:
            return Position(epoch, epochs, step, self.before + self.step)
        return None

    def tags(self) -> dict[str, str]:
        """As tags of a run."""
        told = {
            "epoch": self.epoch,
            "epochs": self.epochs,
            "step": self.step,
            "before": self.before,
        }
        return {f"{LIVE}.{name}": str(value) for name, value in told.items()}

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> "Position | None":
        """The position that a run's tags tell; none if they tell none."""
        try:
            return cls(
                *(int(tags[f"{LIVE}.{name}"]) for name in ("epoch", "epochs", "step", "before"))
            )
        except (KeyError, ValueError):
            return None


def live_runs(client: "MlflowClient", experiment: str) -> Iterator[Any]:
    """The live runs of an experiment, the newest first."""
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{LIVE}` LIKE '%'", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def is_written(run: Any, root: Path) -> bool:
    """Whether somebody who lives is writing a live run: then it is left alone."""
    return run.info.status == RUNNING and owners.writes(root, run.data.tags[LIVE], seen(run))


def seen(run: Any) -> float:
    """When a live run's owner last gave a sign of life, in seconds since 1970."""
    try:
        return float(run.data.tags[SEEN])
    except (KeyError, ValueError):
        return float(run.info.start_time) / 1000


def settle(
    client: "MlflowClient",
    experiment: str,
    root: Path,
    registered: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Mark the live runs of the dead as killed, and delete those of entries whose registered run holds it all.

    Args:
        client: Of the store.
        experiment: Where the runs are.
        root: The project.
        registered: When each entry that was registered just now had been made, in seconds since 1970. A run that began
            later and that somebody is writing stays: the entry is being trained anew.
    """
    from mlflow.exceptions import MlflowException

    gone = owners.dead(root)  # before the runs are listed: who dies meanwhile is left to the next
    for run in list(live_runs(client, experiment)):
        made = registered.get(run.data.tags.get("espalier.entry", ""))
        held = made is not None and run.info.start_time <= 1000 * made
        if is_written(run, root) and not held:
            continue
        try:
            if made is not None:
                client.delete_run(run.info.run_id)
            elif run.info.status == RUNNING:
                client.set_terminated(run.info.run_id, KILLED, int(seen(run) * 1000))
        except MlflowException as error:
            if error.error_code not in GONE:
                raise
    for owner in gone:
        owners.forget(root, owner)

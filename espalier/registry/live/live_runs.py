"""Live runs: the metrics of an entry while it is trained, in the experiment of its registered run.

The tag `espalier.live` marks a live run and holds the lease of the process that writes it. A live
run has no tag by which registered runs are found. Nothing depends on it: registration logs the
whole history and deletes the live run.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from espalier.registry.connection import expired_leases, is_active, remove_lease

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Tags of a live run. Their names and values are in existing stores.
LEASE_TAG = "espalier.live"  # lease of the writing process
HEARTBEAT_TAG = "espalier.live.seen"  # last sign of activity of the process, in seconds since 1970
PARAMETERS_TAG = "espalier.live.parameters"  # hash of the declared parameters of the entry

RUNNING = "RUNNING"
FINISHED = "FINISHED"
FAILED = "FAILED"
KILLED = "KILLED"
DELETED = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})  # codes of MLflow
HEARTBEAT_SECONDS = 60.0


def live_runs(client: "MlflowClient", experiment: str) -> Iterator[Any]:
    """The live runs of an experiment, the newest first."""
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{LEASE_TAG}` LIKE '%'", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def is_being_written(run: Any, root: Path) -> bool:
    """Whether a running process writes a live run."""
    if run.info.status != RUNNING:
        return False
    return is_active(root, run.data.tags[LEASE_TAG], last_heartbeat(run))


def last_heartbeat(run: Any) -> float:
    """The last heartbeat of the process that writes a live run, in seconds since 1970."""
    try:
        return float(run.data.tags[HEARTBEAT_TAG])
    except (KeyError, ValueError):
        return float(run.info.start_time) / 1000


def reconcile(
    client: "MlflowClient",
    experiment: str,
    root: Path,
    registered: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Mark the live runs of crashed processes as killed, and delete those of registered entries.

    | live run | entry registered just now | other entry |
    |---|---|---|
    | begun before the model was made | deleted | |
    | begun later, being written: the entry is trained again | kept | |
    | being written | | kept |
    | written by a crashed process | deleted | marked KILLED |
    | ended | deleted | kept |

    Args:
        client: Client of the store.
        experiment: MLflow's id of the experiment.
        root: The project.
        registered: For each entry registered just now, when its model was made, in seconds since
            1970.
    """
    # read before the runs are listed: a process that crashes in between is left to the next call
    expired = expired_leases(root)
    for run in list(live_runs(client, experiment)):
        finished = registered.get(run.data.tags.get("espalier.entry", ""))
        is_held_by_registered_run = finished is not None and run.info.start_time <= 1000 * finished
        if is_being_written(run, root) and not is_held_by_registered_run:
            continue
        _close(client, run, delete=finished is not None)
    for lease in expired:
        remove_lease(root, lease)


def _close(client: "MlflowClient", run: Any, *, delete: bool) -> None:
    from mlflow.exceptions import MlflowException

    try:
        if delete:
            client.delete_run(run.info.run_id)
        elif run.info.status == RUNNING:
            client.set_terminated(run.info.run_id, KILLED, int(last_heartbeat(run) * 1000))
    except MlflowException as error:
        if error.error_code not in DELETED:
            raise

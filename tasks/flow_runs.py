"""Leases of flow runs, and the state Crashed for runs whose process has ended without one.

Prefect leaves a flow that was killed in the state Running for ever. Each run holds a lease with the id of
its flow run until its process exits, so that a crash is told from slowness; the next run of the project marks
those whose lease is free.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

from espalier.files import digest
from espalier.leases import expired_leases, hold_lease, remove_lease
from espalier.paths import STATE
from espalier.tasks.reporting import ReportLine

_DIGITS = 32  # of the id of a run
_MESSAGE = "Expected the process of the run to report its end; found that it has ended without."
_held = ExitStack()  # until this process exits: the state of a run is final only after its flow
_ids: set[str] = set()  # of the leases that this process holds


def hold_flow_lease(root: Path) -> None:
    """Hold a lease for the current flow run until this process exits."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    lease = context.flow_run.id.hex + _server(root)
    if lease not in _ids:
        _held.enter_context(hold_lease(root, "flows", lease))
        _ids.add(lease)


def mark_crashed(root: Path, report: ReportLine) -> None:
    """Mark the runs of this project as crashed whose processes ended without reporting it.

    Args:
        root: the project.
        report: receives a sentence for each of them.
    """
    found = expired_leases(root, "flows")
    leases = [lease for lease in found if lease[_DIGITS:] == _server(root)]
    if not leases:
        return
    with get_client(sync_client=True) as client:
        for lease in leases:
            _mark(client, lease, report)
            remove_lease(root, lease, "flows")


def _mark(client: SyncPrefectClient, lease: str, report: ReportLine) -> None:
    """Mark one run if it is not final."""
    try:
        run = client.read_flow_run(UUID(lease[:_DIGITS]))
    except (ValueError, ObjectNotFound):  # no run, or a deleted one
        return
    if run.state and not run.state.is_final():
        ours = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        for task_run in client.read_task_runs(flow_run_filter=ours):
            if task_run.state and task_run.state.is_running():
                client.set_task_run_state(task_run.id, Crashed(message=_MESSAGE), force=True)
        client.set_flow_run_state(run.id, Crashed(message=_MESSAGE), force=True)
        report(f"the former run {run.name} has crashed: marked so")


def _server(root: Path) -> str:
    """Hash of the Prefect server, because a run is known to one server only."""
    own = str(root / STATE / "prefect")
    is_own = os.environ.get("PREFECT_HOME") == own
    return digest(own if is_own else PREFECT_API_URL.value() or "")[:8]

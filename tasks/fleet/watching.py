"""One flow run of a worker: its lines, its heartbeats, and its end.

Prefect's flow runs emit a heartbeat each half minute from a thread of their own, however slow their stage is.
A worker marks a run as crashed when its process ends without a state. A run whose machine was lost, whose
network is cut, or that is frozen, has no heartbeat any more, and is marked here.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import LogSort
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventOrder,
    EventResourceFilter,
)
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelling, Crashed

from espalier.errors import Stopped
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine, readable
from espalier.waiting import Reminder, duration

LOGGER = (
    "prefect.flow_runs.espalier"  # of the lines of a stage; Prefect's own lines have another name
)
SILENCE = 80.0  # seconds without heartbeat after which a run is lost; they come each 30 s
HEARTBEAT = "prefect.flow-run.heartbeat"
_POLL = 1.5  # seconds between two looks at a run
AWAY = (
    httpx.TransportError,
    PrefectHTTPStatusError,
)  # the server does not answer, or is overloaded


@dataclass
class FlowRunWatch:
    """A flow run that a worker executes.

    Attributes:
        client: client of Prefect's server.
        run_id: id of the flow run.
        queue: work queue in which it was scheduled.
        report: receives its lines.
    """

    client: SyncPrefectClient
    run_id: UUID
    queue: str
    report: ReportLine
    _lines: int = 0
    _seen: Any = None
    _since: float = field(default_factory=time.monotonic)

    def wait(self, project: Project) -> FlowRun:
        """Wait without limit until the run has ended, or has shown no sign of life for too long.

        Raises:
            Stopped: if the project's run is stopped; the worker's run is cancelled then.
        """
        reminder = Reminder(self.report)
        while True:
            if project.stop.wait(_POLL):
                self._cancel()
                raise Stopped("The run was stopped, and its worker was asked to stop the stage.")
            try:
                run = self.client.read_flow_run(self.run_id)
                self._report_lines()
                if run.state and run.state.is_final():
                    return run
                self._judge(run, reminder)
            except AWAY as error:
                self._since = time.monotonic()  # without the server nothing is known of the run
                reminder.say(f"waiting: Prefect's server does not answer ({error})")

    def _judge(self, run: FlowRun, reminder: Reminder) -> None:
        """Say that no worker has taken the run, or mark it as crashed if it is lost."""
        if run.state is None or run.state.is_scheduled():
            self._since = time.monotonic()
            reminder.say(f"waiting: no worker of the queue {self.queue!r} has taken it yet")
            return
        sign = (run.state.type, self._lines, self._last_heartbeat())
        if sign != self._seen:
            self._seen, self._since = sign, time.monotonic()
        silent = time.monotonic() - self._since
        if silent > SILENCE:
            message = f"Expected heartbeats of the worker; found none for {duration(silent)}."
            self.client.set_flow_run_state(self.run_id, Crashed(message=message), force=True)

    def _last_heartbeat(self) -> UUID | None:
        name = EventNameFilter(name=[HEARTBEAT])
        resource = EventResourceFilter(id=[f"prefect.flow-run.{self.run_id}"])
        tomorrow = datetime.now(UTC) + timedelta(days=1)  # clocks of machines differ
        wanted = EventFilter(
            event=name,
            resource=resource,
            occurred=EventOccurredFilter(until=tomorrow),
            order=EventOrder.DESC,
        )
        found = self.client.read_events(wanted, limit=1).events
        return found[0].id if found else None

    def _report_lines(self) -> None:
        """Report the lines of the stage that have arrived since the last time."""
        ours = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.run_id]))
        logs = self.client.read_logs(ours, offset=self._lines, sort=LogSort.TIMESTAMP_ASC)
        self._lines += len(logs)
        for log in logs:
            if log.name == LOGGER:
                self.report(readable(log.message))

    def _cancel(self) -> None:
        try:
            run = self.client.read_flow_run(self.run_id)
            if run.state and not run.state.is_final():
                self.client.set_flow_run_state(self.run_id, Cancelling())
        except AWAY as error:
            self.report(f"its worker could not be asked to stop: {error}")

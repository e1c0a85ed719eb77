"""Flow runs whose process was killed: the next run of the project marks them as crashed."""

import os
import signal
import subprocess
import sys
import time
from uuid import UUID

import pytest
import sample_projects
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from espalier.leases import expired_leases
from espalier.tasks.flow_runs import mark_crashed

FLOW = """
import sys, time
from pathlib import Path
from prefect import flow
from espalier.tasks.flow_runs import hold_flow_lease

@flow
def slow(folder: str):
    hold_flow_lease(Path(folder))
    hold_flow_lease(Path(folder))  # a flow opens its project twice
    Path(folder, "began").touch()
    time.sleep(120)

slow(sys.argv[1])
"""


@pytest.fixture
def running(root, server):
    """The process of a flow run, and the id of the run."""
    environment = sample_projects.ENVIRONMENT | server
    with subprocess.Popen([sys.executable, "-c", FLOW, str(root)], env=environment) as process:
        deadline = time.monotonic() + 60
        while not (root / "began").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (lease,) = (root / ".espalier" / "locks" / "flows").iterdir()
        yield process, UUID(lease.stem[:32])
        process.kill()


def state_of(run):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run).state.type


def test_a_killed_run_is_marked_as_crashed_and_a_slow_one_never(root, running):
    process, run = running
    reported: list[str] = []
    os.kill(process.pid, signal.SIGSTOP)  # as slow as a run can be
    mark_crashed(root, reported.append)
    assert (state_of(run), reported) == (StateType.RUNNING, [])

    process.kill()
    process.wait()
    mark_crashed(root, reported.append)
    assert state_of(run) == StateType.CRASHED
    assert [line.split()[-3:] for line in reported] == [["crashed:", "marked", "so"]]
    assert expired_leases(root, "flows") == ()
    mark_crashed(root, reported.append)
    assert len(reported) == 1


def test_a_run_of_another_server_is_left_to_the_runs_of_that_server(root, running, monkeypatch):
    process, run = running
    process.kill()
    process.wait()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("espalier.tasks.flow_runs._server", lambda root: "0" * 8)
        mark_crashed(root, pytest.fail)
    assert len(expired_leases(root, "flows")) == 1
    assert state_of(run) == StateType.RUNNING

"""The live-metrics worker: its cost for the run that feeds it, and the state that it leaves."""

import json
import os
import signal
import time

import pytest
from mlflow import MlflowClient
from registry.servers import free_port

from espalier.errors import BadInput, Stopped
from espalier.registry.connection import expired_leases, find_store
from espalier.registry.live import FAILED, FINISHED, KILLED, LEASE_TAG, RUNNING
from espalier.tasks.live import LOG, LiveMetrics


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """No test depends on the speed of the machine, and tests use their own stores only."""
    monkeypatch.setattr("espalier.tasks.live._CLOSING", 120.0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def reported():
    return []


@pytest.fixture
def live(root):
    live = LiveMetrics(root)
    yield live
    live.close()


def line(epoch, model="student"):
    row = {
        "model": model,
        "epochs": 9,
        "step": 10 * epoch,
        "epoch": epoch,
        "loss": 1.0,
        "seconds": 1.0,
        "time": epoch,
    }
    return json.dumps(row)


def wait_for(found):
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def statuses(root):
    """The status of each live run, once there is a store; reading it must not create one."""
    store = find_store(root)
    if not store.database.exists():
        return {}
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("digits")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    return {run.info.run_name: run.info.status for run in found if LEASE_TAG in run.data.tags}


def test_nothing_is_started_before_the_first_epoch_of_the_stage(root, live, reported):
    on_line = live.listener("student", reported.append)
    for other in (
        "starts",
        "{no json",
        json.dumps({"epoch": 1, "loss": 0.5}),
        "{}",
        line(1, model="teacher"),
    ):
        on_line(other)
    live.end("student")
    live.reconcile(reported.append)
    live.close()
    assert not (root / ".espalier" / LOG).exists()


def test_the_end_of_each_stage_is_forwarded_without_output(root, live, reported):
    endings = {"student": None, "student-p50": Stopped("."), "other": BadInput(".")}
    for name in endings:
        live.listener(name, reported.append)(line(1, model=name))
    wait_for(lambda: statuses(root) == dict.fromkeys(endings, RUNNING))
    for name, error in endings.items():
        live.end(name, error)
    live.close()
    assert statuses(root) == {"student": FINISHED, "student-p50": KILLED, "other": FAILED}
    assert (reported, (root / ".espalier" / LOG).read_text()) == ([], "")
    assert list((root / ".espalier" / "locks" / "live").iterdir()) == []


def test_a_run_that_crashes_leaves_its_trainings_as_killed(root, live, reported):
    live.listener("student", reported.append)(line(1))
    wait_for(lambda: statuses(root) == {"student": RUNNING})
    live.close()
    assert statuses(root) == {"student": KILLED}


def test_an_unreachable_server_is_reported_in_one_sentence(monkeypatch, live, reported):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    on_line = live.listener("student", reported.append)
    on_line(line(1))
    wait_for(lambda: reported)
    for epoch in range(2, 8):
        on_line(line(epoch))
    live.end("student")
    live.close()
    (sentence,) = reported
    assert sentence.startswith(
        "no live curves in MLflow: Expected the tracking store http://127.0.0.1:"
    )


def test_a_variable_that_names_no_store_is_reported_in_one_sentence(monkeypatch, live, reported):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    live.listener("student", reported.append)(line(1))
    wait_for(lambda: reported)
    live.close()
    (sentence,) = reported
    assert sentence.startswith(
        "no live curves in MLflow: Expected MLFLOW_TRACKING_URI to be the address"
    )


def test_a_worker_that_cannot_start_is_reported_in_one_sentence(root, live, reported):
    (root / ".espalier" / LOG).mkdir(parents=True)
    on_line = live.listener("student", reported.append)
    on_line(line(1))
    on_line(line(2))
    live.end("student")
    (sentence,) = reported
    assert sentence.startswith("no live curves in MLflow: ")


def test_a_crashed_worker_disturbs_no_run_and_the_next_one_reconciles_its_runs(
    root, live, reported
):
    on_line = live.listener("student", reported.append)
    on_line(line(1))
    wait_for(lambda: statuses(root) == {"student": RUNNING})
    live._process.kill()
    live._process.wait()
    for epoch in range(2, 5):
        on_line(line(epoch))
    live.end("student")
    live.close()
    assert statuses(root) == {"student": RUNNING}
    assert len(expired_leases(root)) == 1
    following = LiveMetrics(root)
    following.reconcile(reported.append)
    following.close()
    assert (statuses(root), expired_leases(root), reported) == ({"student": KILLED}, (), [])


def test_a_worker_that_hangs_delays_no_stage(live, reported, monkeypatch):
    on_line = live.listener("student", reported.append)
    on_line(line(1))
    os.kill(live._process.pid, signal.SIGSTOP)
    for epoch in range(2, 5000):  # more than a pipe holds: a write that waits would wait for ever
        on_line(line(epoch))
    monkeypatch.setattr("espalier.tasks.live._CLOSING", 0.1)
    live.close()
    assert reported == []

"""The process that shows trainings live: what it costs whoever feeds it, and what it leaves."""

import json
import os
import signal
import time

import pytest
from mlflow import MlflowClient
from registry.servers import free_port

from espalier.errors import BadInput, Stopped
from espalier.registry.connection.leases import dead
from espalier.registry.connection.store import find_store
from espalier.registry.live.live_runs import FAILED, FINISHED, KILLED, LIVE, RUNNING
from tasks.live import LOG, Live


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """No test depends on how fast a machine is; and tests talk to their own stores only."""
    monkeypatch.setattr("tasks.live._LAST_WORDS", 120.0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def told():
    return []


@pytest.fixture
def live(root):
    live = Live(root)
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
    """The status of each live run, once there is a store; asking must not make one."""
    store = find_store(root)
    if not store.database.exists():
        return {}
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("digits")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    return {run.info.run_name: run.info.status for run in found if LIVE in run.data.tags}


def test_nothing_is_started_before_the_first_epoch_of_the_stage(root, live, told):
    hear = live.listener("student", told.append)
    for other in (
        "starts",
        "{no json",
        json.dumps({"epoch": 1, "loss": 0.5}),
        "{}",
        line(1, model="teacher"),
    ):
        hear(other)
    live.end("student")
    live.settle(told.append)
    live.close()
    assert not (root / ".espalier" / LOG).exists()


def test_how_each_stage_ended_is_told_and_nothing_else_is_said(root, live, told):
    endings = {"student": None, "student-p50": Stopped("."), "other": BadInput(".")}
    for name in endings:
        live.listener(name, told.append)(line(1, model=name))
    wait_for(lambda: statuses(root) == dict.fromkeys(endings, RUNNING))
    for name, error in endings.items():
        live.end(name, error)
    live.close()
    assert statuses(root) == {"student": FINISHED, "student-p50": KILLED, "other": FAILED}
    assert (told, (root / ".espalier" / LOG).read_text()) == ([], "")
    assert list((root / ".espalier" / "locks" / "live").iterdir()) == []


def test_a_run_that_is_gone_leaves_its_trainings_as_killed(root, live, told):
    live.listener("student", told.append)(line(1))
    wait_for(lambda: statuses(root) == {"student": RUNNING})
    live.close()
    assert statuses(root) == {"student": KILLED}


def test_a_server_that_is_away_costs_one_sentence(monkeypatch, live, told):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    hear = live.listener("student", told.append)
    hear(line(1))
    wait_for(lambda: told)
    for epoch in range(2, 8):
        hear(line(epoch))
    live.end("student")
    live.close()
    (sentence,) = told
    assert sentence.startswith("no live curves in MLflow: The tracking store http://127.0.0.1:")


def test_a_variable_that_names_no_store_costs_one_sentence(monkeypatch, live, told):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    live.listener("student", told.append)(line(1))
    wait_for(lambda: told)
    live.close()
    (sentence,) = told
    assert sentence.startswith(
        "no live curves in MLflow: MLFLOW_TRACKING_URI should be the address"
    )


def test_a_writer_that_cannot_be_started_costs_one_sentence(root, live, told):
    (root / ".espalier" / LOG).mkdir(parents=True)
    hear = live.listener("student", told.append)
    hear(line(1))
    hear(line(2))
    live.end("student")
    (sentence,) = told
    assert sentence.startswith("no live curves in MLflow: ")


def test_a_writer_that_died_disturbs_nobody_and_what_it_left_is_settled_by_the_next(
    root, live, told
):
    hear = live.listener("student", told.append)
    hear(line(1))
    wait_for(lambda: statuses(root) == {"student": RUNNING})
    live._process.kill()
    live._process.wait()
    for epoch in range(2, 5):
        hear(line(epoch))
    live.end("student")
    live.close()
    assert statuses(root) == {"student": RUNNING}
    assert len(dead(root)) == 1
    following = Live(root)
    following.settle(told.append)
    following.close()
    assert (statuses(root), dead(root), told) == ({"student": KILLED}, (), [])


def test_a_writer_that_hangs_keeps_no_stage_waiting(live, told, monkeypatch):
    hear = live.listener("student", told.append)
    hear(line(1))
    os.kill(live._process.pid, signal.SIGSTOP)
    for epoch in range(2, 5000):  # more than a pipe holds: a write that waits would wait for ever
        hear(line(epoch))
    monkeypatch.setattr("tasks.live._LAST_WORDS", 0.1)
    live.close()
    assert told == []

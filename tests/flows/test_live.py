"""Live metrics of a real flow in MLflow, in a real local store and on a real server."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sample_projects
import yaml
from mlflow import MlflowClient
from registry.projects import Project
from registry.servers import serving

from espalier.flows.compress import compress
from espalier.registry.connection import find_store
from espalier.registry.live import FAILED, FINISHED, KILLED, LEASE_TAG, RUNNING
from espalier.tasks.project import TimeLimits

ESPALIER = str(Path(sys.executable).parent / "espalier")
LIMITS = TimeLimits(delay=0.05, grace=5.0)
PARAMS = {
    "training": {"threads": 1},
    "teacher": {"model": "espalier:resnet"},
    "models": {"student": {"from": "teacher", "by": "prune", "keep_macs": 0.9}},
}
PIPELINE = {
    "stages": {
        "student": {
            "cmd": "python stage.py student models/student data",
            "deps": ["data"],
            "outs": ["models/student"],
        },
        "register": {
            "cmd": "python stage.py register registered.json models",
            "deps": ["models/student"],
            "outs": [{"registered.json": {"cache": False, "persist": True}}],
        },
    }
}
MODEL = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from registry.projects import Project
rows = tuple((10 * e, e, 1 / e, 0.5, 0.1, 1.0, 1.7e9 + e) for e in (1, 2, 3))
def train(*epochs):
    for e in epochs:
        step, epoch, loss, accuracy, rate, seconds, when = rows[e - 1]
        row = dict(step=step, epoch=e, loss=loss, accuracy=accuracy, learning_rate=rate, seconds=seconds, time=when)
        print(json.dumps(dict(model=name, epochs=3) | row), flush=True)
def write():
    project = Project.__new__(Project)
    project.root = Path.cwd()
    project.write_model(name, 1, rows)
    end(0, "")
"""
PAUSE = "while not Path('go').exists(): time.sleep(0.05)\n"
REGISTER = """
from espalier.params import read_params
from espalier.registry import register
register(Path.cwd(), read_params(Path.cwd()))
end(0, "")
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.setattr("espalier.tasks.live._CLOSING", 120.0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def project(root):
    """A project with a teacher, a student whose training pauses, and a real registration."""
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    models = Project.__new__(Project)
    models.root = root
    models.write_model("teacher", 0)
    sample_projects.behave(root, "student", MODEL + f"train(1, 2)\n{PAUSE}train(3)\nwrite()")
    sample_projects.behave(root, "register", REGISTER)
    return root


def runs(root):
    """The runs of the registered model's experiment, once there is a store; reading them must not create one."""
    store = find_store(root)
    if store.database and not store.database.exists():
        return []
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("digits")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def curve(root, run):
    history = MlflowClient(find_store(root).uri).get_metric_history(run.info.run_id, "history/loss")
    return sorted((one.step, one.value) for one in history)


def wait_for(found):
    deadline = time.monotonic() + 120
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return result


HALF, WHOLE = [(10, 1.0), (20, 0.5)], [(10, 1.0), (20, 0.5), (30, 1 / 3)]


def live(root, points, status=RUNNING):
    """The live run, as soon as it has these points and this status."""
    found = [run for run in runs(root) if LEASE_TAG in run.data.tags and run.info.status == status]
    return [run for run in found if curve(root, run) == points]


def continue_when_visible(root, seen, points):
    """Wait in a thread until the paused stage shows these points, and let it continue."""

    def watch():
        seen.extend(wait_for(lambda: live(root, points)))
        (root / "go").touch()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("where", ["local", pytest.param("server", marks=pytest.mark.slow)])
def test_a_curve_grows_during_training_and_then_belongs_to_one_run(
    project, where, tmp_path, monkeypatch
):
    if where == "local":
        _watch_to_the_end(project)
    else:
        folder = tmp_path / "mlflow-server"
        folder.mkdir()
        with serving(folder) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            _watch_to_the_end(project)


def _watch_to_the_end(project):
    seen = []
    thread = continue_when_visible(project, seen, HALF)
    state = compress(str(project), limits=LIMITS, return_state=True)
    thread.join()
    assert state.is_completed(), state.message
    assert [run.info.run_name for run in seen] == ["student"]
    (run,) = [run for run in runs(project) if run.info.run_name == "student"]
    assert LEASE_TAG not in run.data.tags
    assert (run.info.status, curve(project, run)) == ("FINISHED", WHOLE)


@pytest.mark.usefixtures("server")
def test_a_failed_stage_leaves_its_curve_as_failed(project):
    sample_projects.behave(project, "student", MODEL + "train(1, 2)\nend(2, 'No.')")
    state = compress(str(project), limits=LIMITS, return_state=True)
    assert state.message.startswith("student: No.")
    assert len(live(project, HALF, FAILED)) == 1


@pytest.mark.slow
def test_a_killed_run_is_marked_and_the_next_one_continues_its_curve(project, tmp_path, server):
    environment = sample_projects.ENVIRONMENT | server | {"HOME": str(tmp_path)}
    flow = subprocess.Popen(
        [ESPALIER, "run"],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (running,) = wait_for(lambda: live(project, HALF))
    flow.kill()
    flow.wait()
    wait_for(lambda: live(project, HALF, KILLED))
    for process in _stages_of(project):
        os.kill(process, signal.SIGKILL)
    sample_projects.behave(project, "student", MODEL + f"train(3)\n{PAUSE}write()")
    sample_projects.behave(project, "register", "end(2, 'No.')")
    seen = []
    thread = continue_when_visible(project, seen, WHOLE)
    state = compress(str(project), limits=LIMITS, return_state=True)
    thread.join()
    assert state.message.startswith("register: No.")
    (run,) = live(project, WHOLE, FINISHED)
    assert run.info.run_id == seen[0].info.run_id == running.info.run_id


def _stages_of(root):
    """Processes that still run in a project: a killed flow leaves its stages."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == root:
                found.append(int(process.name))
        except OSError:  # it ended while we looked
            continue
    return found

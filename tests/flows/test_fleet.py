"""Two workers with homes of their own, a real Prefect server, and a DVC remote that all reach."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import sample_projects
import yaml
from sample_projects import processes_of, wait_for

from espalier.flows.compress import compress
from espalier.tasks.fleet.lock_entries import read_entries
from espalier.tasks.fleet.request import POOL
from espalier.tasks.project import TimeLimits

QUEUES = {"gpu": ["teacher", "student*"], "bench": ["evaluate", "other"]}
LIMITS = TimeLimits(delay=0.2, grace=5)
MODELS = ("teacher", "student", "student-p50", "other")


@dataclass
class Fleet:
    """Workers, and the log in which the stages of all machines record their beginnings."""

    environment: dict[str, str]
    folder: Path
    log: Path
    workers: dict[str, subprocess.Popen]

    def start(self, queue):
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
        command += ["--work-queue", queue, "--type", "process", "--name", f"worker-{queue}"]
        home = {"ESPALIER_WORKER_HOME": str(self.folder / queue), "SAMPLE_EVENTS": str(self.log)}
        with (self.folder / f"{queue}.log").open("ab") as log:
            self.workers[queue] = subprocess.Popen(
                command, cwd=self.folder, env=self.environment | home, stdout=log, stderr=log
            )

    def begun(self):
        return [line["stage"] for line in self.lines() if line["event"] == "begin"]

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, project_root):
    folder = tmp_path_factory.mktemp("fleet")
    environment = sample_projects.ENVIRONMENT | sample_projects.prefect_server()
    fleet = Fleet(environment, folder, folder / "events.log", {})
    deployments = (project_root / "prefect.yaml").read_text()
    assert "checkpoint_minutes: 5" in deployments
    often = deployments.replace("checkpoint_minutes: 5", "checkpoint_minutes: 0.02")
    (folder / "prefect.yaml").write_text(often)
    for words in (
        ("work-pool", "create", POOL, "--type", "process"),
        ("--no-prompt", "deploy", "--name", "stage"),
    ):
        command = [sys.executable, "-m", "prefect", *words]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    for queue in QUEUES:
        fleet.start(queue)
    yield fleet
    for worker in fleet.workers.values():
        worker.terminate()
    for worker in fleet.workers.values():
        try:
            worker.wait(60)
        except subprocess.TimeoutExpired:  # it ends by SIGINT, which a background job ignores
            worker.kill()
            worker.wait()


@pytest.fixture
def project(fleet, root, tmp_path, server, monkeypatch):
    """A committed project whose inputs no other test has, in two queues, with a remote beside it."""
    hand_over(root, QUEUES)
    (tmp_path / "remote").mkdir()
    (root / "data" / "content").write_text(f"{tmp_path}\n")
    ignored = ("data", "prepared", "models", "reports", "registered.json", ".espalier")
    (root / ".gitignore").write_text("".join(f"/{name}\n" for name in ignored))
    remote = str(tmp_path / "remote")
    sample_projects.call(root, "dvc", "remote", "add", "--default", "shared", remote)
    sample_projects.call(root, "dvc", "add", "--quiet", "data")
    sample_projects.call(root, "dvc", "push", "--quiet", "data.dvc")
    commit(root)
    fleet.log.write_text("")
    monkeypatch.setenv("SAMPLE_EVENTS", str(fleet.log))
    return root


def hand_over(root, queues):
    params = yaml.safe_load((root / "params.yaml").read_text()) | {"fleet": queues}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def commit(root):
    sample_projects.call(root, "git", "add", "--all")
    sample_projects.call(root, "git", "commit", "--quiet", "--message", "state")


def run(root):
    return compress(str(root), limits=LIMITS, return_state=True)


def test_two_workers_make_what_one_machine_makes(fleet, project, tmp_path):
    alone = shutil.copytree(project, tmp_path / "alone")
    sample_projects.call(alone, "dvc", "repro", "--quiet")
    fleet.log.write_text("")

    state = run(project)
    assert state.is_completed(), state.message
    assert sorted(fleet.begun()) == sorted([*MODELS, "prepare", "evaluate", "register"])
    assert read_entries(project) == read_entries(alone)
    assert sample_projects.call(project, "dvc", "status") == "Data and pipelines are up to date.\n"
    homes = {queue: fleet.folder / queue for queue in QUEUES}
    kept = {queue: list((home / "stages").iterdir()) for queue, home in homes.items()}
    assert all(path.suffix == ".lock" for paths in kept.values() for path in paths)


@pytest.mark.slow
def test_a_night_with_nothing_new_moves_no_byte_and_a_forced_stage_is_made_again(
    fleet, project, tmp_path
):
    assert run(project).is_completed()
    # the remote is not even there
    (tmp_path / "remote").rename(tmp_path / "away")
    fleet.log.write_text("")
    assert run(project).is_completed()
    assert fleet.begun() in ([], ["register"])  # the sample project has no registry
    (tmp_path / "away").rename(tmp_path / "remote")

    # its worker has the result in its cache, and makes it again all the same
    fleet.log.write_text("")
    assert compress(str(project), ("other",), LIMITS, return_state=True).is_completed()
    assert [name for name in fleet.begun() if name != "register"] == ["other"]


@pytest.mark.slow
def test_clone_without_records_finds_every_result(fleet, project, tmp_path):
    assert run(project).is_completed()
    clone = tmp_path / "clone"
    sample_projects.call(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    sample_projects.call(clone, "dvc", "pull", "--quiet", "data.dvc")
    fleet.log.write_text("")
    assert run(clone).is_completed()
    assert sorted(fleet.begun()) == ["prepare", "register"]  # those without a queue
    assert read_entries(clone) == read_entries(project)


@pytest.mark.slow
def test_two_runs_at_once_train_each_model_once(fleet, project, tmp_path):
    other = tmp_path / "other"
    sample_projects.call(tmp_path, "git", "clone", "--quiet", str(project), str(other))
    sample_projects.call(other, "dvc", "pull", "--quiet", "data.dvc")
    code = "import sys; from espalier.flows.compress import compress; compress(sys.argv[1])"
    with (tmp_path / "other.log").open("wb") as log:
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(other)],
            env=fleet.environment | {"SAMPLE_EVENTS": str(fleet.log)},
            stdout=log,
            stderr=log,
        )
    state = run(project)
    assert second.wait(120) == 0, (tmp_path / "other.log").read_text()
    assert state.is_completed(), state.message
    assert sorted(set(MODELS) & set(fleet.begun())) == sorted(MODELS)
    assert all(fleet.begun().count(name) == 1 for name in MODELS)
    assert read_entries(other) == read_entries(project)


TRAINING = """
place = Path('.espalier/checkpoints/teacher-key/checkpoint-half')
if place.exists():
    note('resumed')
else:
    place.parent.mkdir(parents=True)
    place.write_text('half')
    note('ready')
    time.sleep(300)
"""


@pytest.mark.slow
def test_lost_worker_is_replaced_and_its_checkpoint_continued(fleet, project, tmp_path):
    """The processes are killed and the machine's folder is gone; only the remote has the checkpoint."""
    hand_over(project, {"gpu": ["teacher"]})
    sample_projects.behave(project, "teacher", TRAINING)
    commit(project)

    def lose():
        stage = psutil.Process(wait_for(lambda: ready(fleet, "teacher"), "the stage"))
        copies = tmp_path / "remote" / "espalier" / "checkpoints"
        wait_for(lambda: list(copies.rglob("checkpoint-half")), "the copy of the checkpoint")
        for process in processes_of(stage):
            process.kill()
        shutil.rmtree(fleet.folder / "gpu" / "stages")

    thread = threading.Thread(target=lose)
    thread.start()
    state = run(project)
    thread.join()
    assert state.is_completed(), state.message
    events = [line["event"] for line in fleet.lines() if line["stage"] == "teacher"]
    assert events == ["begin", "ready", "begin", "resumed", "end"]
    assert not list((tmp_path / "remote").rglob("checkpoint-half"))


def test_sentence_and_status_of_a_stage_reach_the_run(fleet, project):
    hand_over(project, {"gpu": ["student"]})
    sample_projects.behave(project, "student", "end(2, 'Expected more; found less.')")
    commit(project)
    state = run(project)
    assert state.is_failed()
    assert state.message == (
        "student: Expected more; found less.\n"
        "Not run, because they need it: student-p50, evaluate, register."
    )
    assert fleet.begun().count("student") == 1  # bad input is not tried again
    assert "other" in fleet.begun()


@pytest.mark.slow
def test_stopped_run_stops_the_stage_of_its_worker(fleet, project, tmp_path):
    hand_over(project, {"gpu": ["teacher"]})
    sample_projects.behave(project, "teacher", "note('ready')\nif times() == 1: time.sleep(300)")
    commit(project)
    command = [sys.executable, "-c", "from espalier.flows.cli import main; main()", "run"]
    with (tmp_path / "run.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project, env=fleet.environment, stdout=log, stderr=log
        )
    stage = wait_for(lambda: ready(fleet, "teacher"), "the stage")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143, (tmp_path / "run.log").read_text()
    wait_for(lambda: not psutil.pid_exists(stage), "the end of the stage")
    assert run(project).is_completed()


@pytest.mark.slow
def test_frozen_machine_is_replaced_within_two_minutes(fleet, project):
    """All processes of a stage are stopped, as with a machine that was suspended or lost its network."""
    hand_over(project, {"bench": ["other"]})
    sample_projects.behave(project, "other", "note('ready')\nif times() == 1: time.sleep(600)")
    commit(project)
    frozen = []

    def freeze():
        stage = psutil.Process(wait_for(lambda: ready(fleet, "other"), "the stage"))
        for process in processes_of(stage):
            process.suspend()
            frozen.append(process)
        frozen_at.append(time.time())

    frozen_at: list[float] = []
    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        state = run(project)
    finally:
        thread.join()
        for process in frozen:
            process.kill()
    assert state.is_completed(), state.message
    begun = [
        line["at"] for line in fleet.lines() if (line["stage"], line["event"]) == ("other", "begin")
    ]
    assert len(begun) == 2
    assert begun[1] - frozen_at[0] < 120


def ready(fleet, name):
    found = [
        line["pid"] for line in fleet.lines() if (line["stage"], line["event"]) == (name, "ready")
    ]
    return found[0] if found else None

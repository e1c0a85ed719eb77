"""A run beside DVC commands that use the same files, and what killed ones leave behind."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
import sample_projects

from espalier.errors import Stopped
from espalier.tasks.dvc_locks import find_blockers, release_dead
from espalier.tasks.graph import read_graph
from espalier.tasks.reproduce import attempt


def stage_of(root, name="prepare"):
    return next(stage for stage in read_graph(root).stages if stage.name == name)


@pytest.fixture
def other_command(project):
    """A `dvc repro` of `prepare` that is running, and whose stage takes five seconds."""
    stage = stage_of(project.root)
    sample_projects.behave(project.root, "prepare", "note('ready'); time.sleep(5)")
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "prepare"]
    with subprocess.Popen(
        command,
        cwd=project.root,
        env=sample_projects.ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not sample_projects.events(project.root, "ready"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield stage, process
        if process.poll() is None:
            os.killpg(process.pid, 9)


def test_a_run_beside_dvc_waits_for_it_and_finds_the_stage_unchanged(project, other_command):
    stage, process = other_command
    reported: list[str] = []
    assert not attempt(stage, project, reported.append)
    assert process.wait() == 0
    assert sample_projects.events(project.root) == ["prepare"]
    waiting = f"waiting: `dvc repro --single-item prepare` (process {process.pid}, since "
    assert any(line.startswith(waiting) for line in reported)
    assert not any("remove" in line for line in reported)


def test_a_run_that_waits_for_dvc_can_be_stopped(project, other_command):
    threading.Timer(1.0, project.stop.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        attempt(other_command[0], project, lambda _line: None)
    assert time.monotonic() - began < 4.0


def test_a_killed_command_is_not_waited_for(project, other_command):
    stage, process = other_command
    os.killpg(process.pid, 9)  # without a `wait` it stays as a zombie, which DVC takes for running
    sample_projects.behave(project.root, "prepare", "")
    assert attempt(stage, project, lambda _line: None)


@pytest.mark.parametrize("pid", ["of a zombie", "of another process", "of no process"])
def test_records_of_dead_commands_are_released(root, pid):
    stage = stage_of(root)
    zombie = subprocess.Popen(["true"])
    time.sleep(0.2)
    numbers = {
        "of a zombie": zombie.pid,
        "of another process": os.getppid(),
        "of no process": 2**22 + 1,
    }
    info = {"pid": numbers[pid], "cmd": "/bin/dvc repro --single-item prepare"}
    own = {"pid": os.getpid(), "cmd": " ".join(["pytest", *sys.orig_argv[-1:]])}
    record = root / ".dvc" / "tmp" / "rwlock"
    entries = {"write": {stage.writes[0]: info}, "read": {stage.reads[0]: [info, own]}}
    record.write_text(json.dumps(entries))
    assert find_blockers(root, stage.reads, ()) == ()
    assert release_dead(root) == 2
    assert json.loads(record.read_text()) == {"write": {}, "read": {stage.reads[0]: [own]}}
    assert [command.pid for command in find_blockers(root, (), stage.reads)] == [os.getpid()]
    zombie.wait()


def test_a_record_that_was_cut_off_is_replaced(project):
    stage = stage_of(project.root)
    (project.root / ".dvc" / "tmp" / "rwlock").write_text('{"read": {"/pro')
    assert attempt(stage, project, lambda _line: None)


def test_reading_the_graph_waits_for_another_command(root):
    from dvc.repo import Repo, lock_repo

    held, reported = threading.Event(), []

    def hold():
        with Repo(str(root)) as repo, lock_repo(repo):
            held.set()
            time.sleep(5)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert len(read_graph(root, report=reported.append).stages) == 7
    assert reported == ["waiting: another DVC command reads or changes the project's records"]
    thread.join()

import json
import os
import signal
import threading
import time

import pytest
import sample_projects
from prefect import flow
from small_disks import mounted

from espalier.errors import BadInput, EspalierError, Stopped, TryAgain
from espalier.locks import is_locked
from espalier.tasks.graph import Stage, read_graph
from espalier.tasks.project import Project, TimeLimits
from espalier.tasks.reproduce import attempt, reproduce
from espalier.tasks.slots import Slot

PREPARE = Stage("prepare", "python stage.py prepare prepared data")


def states_of(project, *stages):
    """The final state of each stage, given to the task by a flow, one after the other."""

    @flow(name="test", persist_result=False)
    def run():
        return [reproduce(stage, project, return_state=True) for stage in stages], "done"

    return run()[0]


@pytest.mark.usefixtures("server")
class TestRetries:
    def test_75_is_tried_again_until_it_succeeds(self, project):
        sample_projects.behave(
            project.root,
            "prepare",
            "if times() < 3: end(75, 'Expected a free device; found it busy.')",
        )
        (state,) = states_of(project, PREPARE)
        assert state.is_completed(), state.message
        assert sample_projects.events(project.root) == ["prepare"] * 3

    def test_75_is_given_up_after_three_retries(self, project):
        sample_projects.behave(
            project.root, "prepare", "end(75, 'Expected a free device; found it busy.')"
        )
        (state,) = states_of(project, PREPARE)
        assert (state.is_failed(), state.message) == (
            True,
            "prepare: Expected a free device; found it busy.",
        )
        assert isinstance(state.result(raise_on_failure=False), TryAgain)
        assert len(sample_projects.events(project.root)) == 4

    def test_2_is_never_tried_again_and_its_sentence_is_the_message(self, project):
        sample_projects.behave(
            project.root, "prepare", "end(2, 'Expected a number for seed; found x.')"
        )
        (state,) = states_of(project, PREPARE)
        assert (state.name, state.message) == (
            "Failed",
            "prepare: Expected a number for seed; found x.",
        )
        assert len(sample_projects.events(project.root)) == 1

    def test_143_is_never_tried_again(self, project):
        sample_projects.behave(project.root, "prepare", "end(143, 'Stopped at epoch 3.')")
        (state,) = states_of(project, PREPARE)
        assert state.is_failed()
        assert len(sample_projects.events(project.root)) == 1

    def test_a_stage_that_was_killed_is_tried_once_more(self, project):
        sample_projects.behave(project.root, "prepare", "os.kill(os.getpid(), 9)")
        (state,) = states_of(project, PREPARE)
        assert state.is_failed()
        assert state.message.startswith(
            "prepare: Expected it to finish or to give a reason; found: failed to run"
        )
        assert len(sample_projects.events(project.root)) == 2

    def test_unchanged_stage_says_so_and_starts_no_process(self, project, monkeypatch):
        lines = []
        monkeypatch.setattr("espalier.tasks.reproduce.line_reporter", lambda _logger: lines.append)
        (state,) = states_of(project, Stage("prepare", stale=False))
        assert lines == ["unchanged"]
        assert (state.name, state.is_completed()) == ("Unchanged", True)
        assert sample_projects.events(project.root) == []


def test_kind_of_the_error_follows_the_recorded_status(project):
    for status, kind in ((2, BadInput), (143, Stopped), (99, EspalierError)):
        sample_projects.behave(project.root, "prepare", f"end({status}, 'No.')")
        with pytest.raises(EspalierError, match=r"^prepare: No\.$") as raised:
            attempt(PREPARE, project, lambda _line: None)
        assert type(raised.value) is kind


def test_reported_lines_are_short(project):
    reported = []
    attempt(PREPARE, project, reported.append)
    assert reported == ["starts", "epoch 1  loss 0.1235", "done"]
    attempt(PREPARE, project, reported.append)
    assert reported[3:] == ["starts", "unchanged"]


def test_forced_stage_runs_although_nothing_changed(project):
    attempt(PREPARE, project, lambda _line: None)
    attempt(Stage("prepare", PREPARE.command, forced=True), project, lambda _line: None)
    assert sample_projects.events(project.root) == ["prepare", "prepare"]


def test_stopping_the_run_stops_the_stage_after_its_checkpoint(project):
    checkpoint = project.root / "checkpoint"
    code = (
        "def stop(*_):\n    Path('checkpoint').write_text(str(os.getpid()))\n    end(143, 'Stopped.')\n"
        "import signal\nsignal.signal(signal.SIGTERM, stop)\nnote('ready')\ntime.sleep(60)"
    )
    sample_projects.behave(project.root, "prepare", code)
    threading.Thread(target=lambda: _wait_for(project.root, "ready") or project.stop.set()).start()
    with pytest.raises(Stopped):
        attempt(PREPARE, project, lambda _line: None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(checkpoint.read_text()), 0)


def test_a_stage_that_takes_too_long_is_stopped(project):
    sample_projects.behave(project.root, "prepare", "note('ready')\ntime.sleep(60)")
    hasty = Project(project.root, project.slots, TimeLimits(timeout=4.0, grace=1.0))
    with pytest.raises(
        Stopped, match=r"prepare: Expected it to end within 4 s; found it still running"
    ):
        attempt(PREPARE, hasty, lambda _line: None)
    assert sample_projects.events(project.root, "ready") == ["prepare"]


def test_when_dvc_is_killed_its_stage_is_stopped(project):
    # DVC leads the group that the stage is in.
    sample_projects.behave(
        project.root, "prepare", "note('ready')\nos.kill(os.getpgrp(), 9)\ntime.sleep(60)"
    )
    with pytest.raises(EspalierError, match="no message"):
        attempt(PREPARE, project, lambda _line: None)
    line = json.loads((project.root / "events.log").read_text().splitlines()[-1])
    time.sleep(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(line["pid"], signal.SIGCONT)


def test_two_runs_execute_a_stage_once(project):
    sample_projects.behave(project.root, "prepare", "time.sleep(1)")
    other = Project(project.root, project.slots, project.limits)
    reported: list[str] = []
    runs = [
        threading.Thread(target=attempt, args=(PREPARE, run, reported.append))
        for run in (project, other)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sample_projects.events(project.root) == ["prepare"]
    assert any(line.startswith("waiting: another run is making it (process ") for line in reported)
    assert "unchanged" in reported


def test_a_model_of_two_processes_takes_two_slots(project, tmp_path):
    sample_projects.write_params(project.root, other={"processes": 2})
    slots = tuple(Slot(tmp_path / name) for name in "abc")
    stage = Stage("model@other", "python stage.py other models/other models/teacher")
    code = "import time\nnote('ready')\ntime.sleep(1)"
    for name in ("prepare", "teacher"):
        sample_projects.call(project.root, "dvc", "repro", "--single-item", name)
    sample_projects.behave(project.root, "other", code)
    run = Project(project.root, slots, project.limits)
    thread = threading.Thread(target=attempt, args=(stage, run, lambda line: None))
    thread.start()
    _wait_for(project.root, "ready")
    taken = [is_locked(slot.path) for slot in slots]
    thread.join()
    assert taken == [True, True, False]


def _wait_for(root, event):
    deadline = time.monotonic() + 30
    while not sample_projects.events(root, event) and time.monotonic() < deadline:
        time.sleep(0.1)


class TestCacheWithoutRoom:
    """DVC prints an error and exits with 0 if the disk under its cache is full."""

    def test_outputs_are_stored_as_soon_as_there_is_room_and_nothing_is_made_again(
        self, project, full_disk
    ):
        def report(line):
            if "storing them again" in line:
                full_disk.unlink()

        assert attempt(PREPARE, project, report)
        assert sample_projects.events(project.root) == ["prepare"]
        assert not read_graph(project.root).stages[0].stale

    @pytest.mark.usefixtures("server")
    def test_a_cache_that_stays_full_fails_with_the_way_on(self, project, full_disk):
        (state,) = states_of(project, PREPARE)
        assert state.is_failed()
        assert "No space left" in state.message
        assert "dvc commit --force prepare" in state.message
        assert sample_projects.events(project.root) == ["prepare"]
        full_disk.unlink()
        sample_projects.call(project.root, "dvc", "commit", "--force", "prepare")
        assert not read_graph(project.root).stages[0].stale


@pytest.fixture
def full_disk(project, tmp_path):
    """A full file system under DVC's cache; the file that fills it."""
    with mounted(tmp_path / "disk", "64k") as disk:
        sample_projects.call(project.root, "dvc", "cache", "dir", str(disk / "cache"))
        filling = disk / "filling"
        filling.write_bytes(bytes(64 * 1024))
        yield filling

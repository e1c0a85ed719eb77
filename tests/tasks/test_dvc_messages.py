"""DVC's messages: each pattern matches the message of the installed DVC, which each test provokes."""

import os
import shutil
import subprocess
import sys
import time

import pytest
import sample_projects

from espalier import dvc_messages
from espalier.errors import BadInput, TryAgain

STAGE = "model@student"


def dvc(root, *words: str) -> tuple[int, list[str]]:
    """The exit status and the lines of a DVC command, as a run reads them."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=root,
        env=sample_projects.ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def repro(root, *words: str) -> tuple[int, list[str]]:
    return dvc(root, "repro", "--single-item", *words)


def matching(pattern, lines):
    return [line for line in lines if pattern.fullmatch(line)]


def test_an_unchanged_stage(built_project):
    status, lines = repro(built_project, STAGE)
    assert status == 0
    assert matching(dvc_messages.UNCHANGED, lines)


def test_a_stage_that_the_cache_of_runs_restores(built_project):
    sample_projects.write_params(built_project, student={"keep_macs": 0.8})
    assert repro(built_project, STAGE)[0] == 0
    sample_projects.write_params(built_project)
    status, lines = repro(built_project, STAGE)
    assert status == 0
    assert matching(dvc_messages.RESTORED, lines)


def test_every_line_that_is_not_the_stages_own_is_progress(root):
    status, lines = repro(root, "prepare")
    assert status == 0
    own = [line for line in lines if line.startswith(("> ", "{"))]
    others = [line for line in lines if line not in own]
    assert others
    assert [line for line in others if not dvc_messages.PROGRESS.fullmatch(line)] == []


def test_a_stage_that_fails(root):
    sample_projects.behave(root, "prepare", "sys.exit(3)")
    status, lines = repro(root, "prepare")
    assert status != 0
    (found,) = [dvc_messages.ERROR.fullmatch(line) for line in lines if line.startswith("ERROR")]
    assert found[1].startswith("failed to run: ")
    assert dvc_messages.EXITED.search(found[1])[1] == "3"


@pytest.fixture
def running_stage(root):
    """A `dvc repro` of `prepare` that is still running."""
    sample_projects.behave(root, "prepare", "note('ready'); time.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "--single-item", "prepare"],
        cwd=root,
        env=sample_projects.ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not sample_projects.events(root, "ready"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield root
    os.killpg(process.pid, 9)
    process.wait()


def test_files_that_another_command_uses(running_stage):
    status, lines = repro(running_stage, "prepare")
    assert status != 0
    busy, *further = [line for line in lines if line and not line.startswith("Running stage")]
    assert dvc_messages.BUSY.search(busy)
    assert [line for line in further if not dvc_messages.BLOCKERS.fullmatch(line)] == []


def test_a_record_of_locks_that_was_cut_off(root):
    (root / ".dvc" / "tmp" / "rwlock").write_text('{"read": {"/pro')
    status, lines = repro(root, "prepare")
    assert status != 0
    assert dvc_messages.BUSY.search("\n".join(lines))


def test_a_repository_that_another_command_has_locked(root):
    from dvc.repo import Repo, lock_repo

    with Repo(str(root)) as repo, lock_repo(repo):
        status, lines = repro(root, "prepare")
    assert status != 0
    assert dvc_messages.BUSY.search("\n".join(lines))


def test_data_that_dvc_has_not_saved(root):
    sample_projects.call(root, "dvc", "remote", "add", "--default", "near", str(root / "remote"))
    sample_projects.call(root, "dvc", "push", "--quiet")
    shutil.rmtree(root / ".dvc" / "cache")
    (root / "data" / "content").write_text("other data\n")
    status, lines = dvc(root, "pull", "data.dvc")
    assert status != 0
    assert dvc_messages.UNSAVED.search("\n".join(lines))


def test_a_project_without_remote_storage(root):
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "data")
    status, lines = dvc(root, "pull", "data.dvc")
    assert status != 0
    assert dvc_messages.NO_REMOTE.search("\n".join(lines))


def kind_of_failure(root, *words):
    """The type of the error for a command of DVC that fails."""
    status, lines = dvc(root, *words)
    assert status != 0
    return type(dvc_messages.failure(f"dvc {' '.join(words)}", " ".join(lines)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dvc.lock", '{"schema": "2.0", "stages": ['),
        ("dvc.lock", "{}"),
        ("dvc.yaml", "stages: ["),
        ("dvc.yaml", "stages: {prepare: {cmd: x, outz: []}}"),
    ],
)
def test_no_other_try_reads_a_record_that_is_damaged(root, name, content):
    sample_projects.call(root, "dvc", "remote", "add", "--default", "near", str(root / "remote"))
    (root / name).write_text(content)
    assert kind_of_failure(root, "push") is BadInput


def test_no_other_try_finds_a_stage_that_does_not_exist(root):
    sample_projects.call(root, "dvc", "remote", "add", "--default", "near", str(root / "remote"))
    assert kind_of_failure(root, "push", "nothing") is BadInput


def test_data_that_the_remote_does_not_have(root):
    sample_projects.call(root, "dvc", "remote", "add", "--default", "near", str(root / "remote"))
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "data")
    status, lines = dvc(root, "pull", "data.dvc")
    assert status != 0
    error = dvc_messages.failure("dvc pull data.dvc", " ".join(lines))
    assert "Missing cache files" in str(error)  # what DVC says is not hidden
    assert str(error).endswith("where the files are, or, for data, `espalier data SOURCE` here.")


def test_another_try_may_reach_a_remote(root):
    away = "http://127.0.0.1:9/data"
    sample_projects.call(root, "dvc", "remote", "add", "--default", "far", away)
    shutil.rmtree(root / ".dvc" / "cache")
    shutil.rmtree(root / "data")
    assert kind_of_failure(root, "pull", "data.dvc") is TryAgain


@pytest.mark.parametrize(
    ("spelled", "output", "kind"),
    [
        ("git pull", "fatal: unable to access 'https://example.org': Could not resolve", TryAgain),
        ("git pull", "fatal: Not possible to fast-forward, aborting.", BadInput),
        ("git add", "fatal: Unable to create '.git/index.lock': File exists.", TryAgain),
        ("dvc push", "ERROR: No space left on device", TryAgain),
        ("dvc push", "ERROR: [Errno 13] Permission denied: '/cache'", BadInput),
    ],
)
def test_whether_another_try_helps(spelled, output, kind):
    assert type(dvc_messages.failure(spelled, output)) is kind

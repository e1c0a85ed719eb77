"""Experiments of DVC share the slots of their project and its outputs of teachers, also in DVC's copies."""

import os
import signal
import subprocess
import time

import pytest
import torch
import yaml
from sample_projects import ENVIRONMENT, call

from espalier import files, paths
from espalier.commands import init
from espalier.errors import Stopped
from espalier.locks import is_locked, try_lock
from espalier.making.project import Project
from espalier.params import read_params
from espalier.tasks import slots
from espalier.tasks.experiments import slots_in_experiment

OF_DVC = {"DVC_STAGE": "model@student", "DVC_EXP_NAME": "brave-fox", "CUDA_VISIBLE_DEVICES": ""}
COPY = (".dvc", "tmp", "exps", "tmp1")


@pytest.fixture
def one_slot(monkeypatch):
    """A machine with one slot, on which DVC runs a stage of an experiment."""
    for name, value in OF_DVC.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ESPALIER_OUTCOME", raising=False)
    monkeypatch.setattr(slots, "count_processors", lambda: 1)


@pytest.fixture
def copied(root):
    """A project, and DVC's copy of it."""
    copy = root.joinpath(*COPY)
    copy.mkdir(parents=True)
    (copy / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    return root, copy


@pytest.mark.parametrize("inside", ["", "sub", "sub/deeper"])
def test_the_origin_of_a_copy_is_found_also_in_a_folder_of_the_repository(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    (tmp_path / inside / "params.yaml").touch()
    whole = tmp_path.joinpath(*COPY, inside)
    assert paths.origin(whole) == tmp_path / inside
    managed = tmp_path / inside  # DVC was initialised there, and copies all of the git repository
    assert paths.origin(managed.joinpath(*COPY, inside)) == tmp_path / inside


def test_other_folders_are_their_own_origin(tmp_path):
    assert paths.origin(tmp_path) == tmp_path
    lost = tmp_path.joinpath(*COPY)  # no project is there any more
    assert paths.origin(lost) == lost


@pytest.mark.usefixtures("one_slot")
def test_a_stage_of_an_experiment_holds_a_slot_of_the_project(copied):
    project, copy = copied
    slot = project / ".espalier" / "slots" / "cpu-0"
    for folder in copied:
        with slots_in_experiment(folder, "model", "student", pytest.fail):
            assert is_locked(slot)
        assert not is_locked(slot)
    assert not (copy / ".espalier").exists()


def test_the_outputs_of_teachers_are_those_of_the_project_and_all_other_state_its_own(copied):
    project, copy = copied
    opened = Project(copy, read_params(copy), torch.device("cpu"))
    assert opened.bank == project / ".espalier" / "bank"
    assert opened.state("checkpoints") == copy / ".espalier" / "checkpoints"


@pytest.mark.usefixtures("one_slot")
@pytest.mark.parametrize("absent", ["DVC_STAGE", "DVC_EXP_NAME"])
def test_a_stage_outside_of_experiments_holds_none(root, monkeypatch, absent):
    monkeypatch.delenv(absent)
    with slots_in_experiment(root, "model", "student", pytest.fail):
        assert not (root / ".espalier" / "slots").exists()


@pytest.mark.usefixtures("one_slot")
def test_a_stage_of_a_flow_has_the_slot_of_its_flow(root, monkeypatch):
    monkeypatch.setenv("ESPALIER_OUTCOME", str(root / "outcome.json"))
    with slots_in_experiment(root, "model", "student", pytest.fail):
        assert not (root / ".espalier" / "slots").exists()


@pytest.mark.usefixtures("one_slot")
def test_it_waits_for_the_slot_with_a_sentence_and_ends_at_once_by_sigterm(copied):
    project, copy = copied
    handle = try_lock(project / ".espalier" / "slots" / "cpu-0")
    said = []

    def report(sentence):
        said.append(sentence)
        os.kill(os.getpid(), signal.SIGTERM)

    former = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(Stopped, match=r"^student: The command was stopped"),
        slots_in_experiment(copy, "model", "student", report),
    ):
        pytest.fail("the slot was taken")
    os.close(handle)
    assert said == ["student: waiting: every slot of this machine is taken"]
    assert signal.getsignal(signal.SIGTERM) is former


def test_a_gpu_of_the_slot_is_the_only_one_that_the_stage_sees(root, one_slot, monkeypatch):
    del one_slot
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    handle = try_lock(root / ".espalier" / "slots" / "gpu-2")
    with slots_in_experiment(root, "model", "student", pytest.fail):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    os.close(handle)


PARAMS = {
    "seed": 0,
    "trusted": [],
    "data": {},
    "training": {"batch_size": 64, "threads": 1, "views": 2},
    "teacher": {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 4}, "epochs": 1},
    "models": {
        "student": {
            "from": "teacher",
            "by": "distill",
            "model": "espalier:mlp",
            "soft": {"temperature": 4},
            "epochs": 2,
        }
    },
}


def quietly(root, *command):
    """Run a command that leaves processes behind, which would hold a pipe open."""
    subprocess.run(
        command,
        cwd=root,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def output_of(root, name):
    """The output of a queued experiment; empty if DVC has not started it."""
    command = ("dvc", "queue", "logs", name)
    return subprocess.run(
        command, cwd=root, env=ENVIRONMENT, capture_output=True, text=True, check=False
    ).stdout


def wait_until(condition, root):
    """Wait for a condition on the queue of experiments."""
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, call(root, "dvc", "queue", "status")
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_queued_experiments_take_turns_and_share_the_outputs_of_the_teacher(
    tmp_path, monkeypatch, request
):
    monkeypatch.setitem(ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "")
    root, names = tmp_path / "project", ("brave-fox", "calm-owl")
    init.run(root, "digits")
    PARAMS["training"]["threads"] = slots.count_processors()  # one slot
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    call(root, "dvc", "repro", "--quiet", "teacher")
    call(root, "git", "add", "--all")
    call(root, "git", "commit", "--quiet", "--message", "a project")
    for epochs, name in enumerate(names, 1):
        change = f"models.student.epochs={epochs}"
        call(root, "dvc", "exp", "run", "--queue", "--name", name, "-S", change, "model@student")
    handle = try_lock(root / ".espalier" / "slots" / "cpu-0")
    request.addfinalizer(lambda: quietly(root, "dvc", "queue", "stop", "--kill"))
    quietly(root, "dvc", "queue", "start", "--jobs", "2")
    waiting = "student: waiting: every slot of this machine is taken"
    wait_until(lambda: all(waiting in output_of(root, name) for name in names), root)
    os.close(handle)
    wait_until(lambda: call(root, "dvc", "queue", "status").count("Success") == 2, root)
    spans = []
    for name in names:
        quietly(root, "dvc", "exp", "apply", name)  # it fails, since nothing was evaluated
        call(root, "dvc", "checkout", "--quiet", "--force", "models/student")
        lineage = files.read_json(root / "models" / "student" / "lineage.json")
        spans.append((lineage["finished"] - lineage["seconds"], lineage["finished"]))
    (_, first), (second, _) = sorted(spans)
    assert first <= second
    (bank,) = (root / ".espalier" / "bank").iterdir()
    assert len(list(bank.iterdir())) == 2  # a view for each epoch of the longer one

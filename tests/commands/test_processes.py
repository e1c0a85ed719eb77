"""Several processes that train one model, started by the command that makes it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput
from espalier.models import load
from espalier.params import check

TRAINING = {"batch_size": 66, "threads": 1, "views": 2}  # divided by two and by three
TEACHER = {
    "model": "espalier:resnet",
    "arguments": {"depth": 8, "width": 8},
    "epochs": 3,
    "processes": 3,
}
STUDENT = {"from": "teacher", "by": "distill", "model": "espalier:mlp", "epochs": 2, "processes": 2}
PRUNED = {
    "from": "teacher",
    "by": "prune",
    "keep_macs": 0.6,
    "align": 1,
    "score": "scores:noted",
    "finetune": {"epochs": 1},
    "processes": 2,
}
# a user's score, which notes the process that computes it
NOTED = """
import os
import numpy

def noted(network, groups, losses):
    with open("scored", "a") as file:
        file.write(os.environ["RANK"])
    next(losses(network))  # the outputs of the teacher, without the other process
    return numpy.arange(groups.count, dtype=float)
"""
# a user's package: process 1 fails in its fourth step
FAILING = """
import os, signal, time
from espalier.errors import BadInput
from espalier.models import build

def net(*, classes, shape):
    network = build("espalier:mlp", classes=classes, shape=shape, arguments={"hidden": [8]})
    steps = []
    def fail(module, inputs):
        steps.append(1)
        if os.environ.get("RANK") == "1" and module.training and len(steps) > 3:
            HOW
    network.register_forward_pre_hook(fail)
    return network
"""


def command(root, name="teacher", **environment):
    environment = (
        os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE"} | environment
    )
    return subprocess.Popen(
        [sys.executable, "-m", "espalier", "make", name],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process):
    out, err = process.communicate(timeout=250)
    return process.returncode, out, err


def processes_in(root):
    """The processes whose working directory is the project."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if Path(path, "cwd").resolve() == root.resolve():
                found.append(int(path.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def assert_no_process_is_left(root):
    deadline = time.monotonic() + 20
    while processes_in(root) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_in(root) == []


def fail(root, how):
    """Declare a teacher of two processes, one of them failing."""
    (root / "own.py").write_text(FAILING.replace("HOW", how))
    teacher = {"model": "own:net", "epochs": 2, "processes": 2}
    content = {"training": TRAINING, "trusted": ["own"], "teacher": teacher}
    (root / "params.yaml").write_text(yaml.safe_dump(content))


def weights(root, name="teacher"):
    return files.sha256(root / "models" / name / "weights.safetensors")


def bank(root):
    """The names of the teachers' outputs, which contain hashes of their content."""
    folder = root / ".espalier" / "bank"
    return sorted(path.name for path in folder.glob("*/*.safetensors"))


@pytest.fixture(scope="module")
def project(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp("processes") / "project"
    shutil.copytree(digits, root / "prepared")
    models = {"student": STUDENT, "pruned": PRUNED}
    content = {"training": TRAINING, "trusted": ["scores"], "teacher": TEACHER, "models": models}
    (root / "scores.py").write_text(NOTED)
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    return root


@pytest.fixture(scope="module")
def trained_project(project):
    """The project with a teacher that three processes trained_project, and the end of the command."""
    return project, ended(command(project))


@pytest.fixture
def again(trained_project, tmp_path):
    """The same project without models."""
    root = tmp_path / "project"
    shutil.copytree(trained_project[0], root, ignore=shutil.ignore_patterns("models", ".espalier"))
    return root


@pytest.mark.slow
def test_one_command_starts_the_processes_and_prints_what_one_process_prints(trained_project):
    root, (status, out, err) = trained_project
    assert (status, err) == (0, "")
    *rows, last = out.splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [1, 2, 3]
    assert last.startswith("teacher: ")
    assert files.read_json(root / "models" / "teacher" / "lineage.json")["processes"] == 3
    assert not list((root / ".espalier" / "checkpoints").glob("*"))
    assert_no_process_is_left(root)


@pytest.mark.slow
def test_the_accuracy_that_processes_share_is_that_of_the_deployed_file(trained_project):
    """The processes see different batches, and norms with statistics of their own would disagree."""
    root, (_, out, _) = trained_project
    row = json.loads(out.splitlines()[-2])
    metrics = files.read_json(root / "models" / "teacher" / "metrics.json")
    assert metrics["validation_accuracy"] == pytest.approx(row["accuracy"], abs=1e-6)


@pytest.mark.slow
def test_a_complete_model_is_not_trained_again(trained_project):
    status, out, _ = ended(command(trained_project[0]))
    assert (status, out) == (0, "teacher: already made from these inputs\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_or_killed_and_made_again_it_has_the_same_bits(trained_project, again, number):
    process = command(again)
    first = process.stdout.readline()
    process.send_signal(number)
    status, _, err = ended(process)
    assert json.loads(first)["epoch"] == 1
    if number == signal.SIGTERM:
        assert status == 143
        assert err.startswith("espalier: Stopped as asked after step ")
        assert err.count("\n") == 1
    assert_no_process_is_left(again)
    assert list((again / ".espalier" / "checkpoints").glob("*/*/*"))
    status, out, _ = ended(command(again))
    assert status == 0
    assert '"epoch": 1,' not in out
    assert weights(again) == weights(trained_project[0])


@pytest.mark.slow
def test_a_student_of_two_processes_has_the_outputs_of_the_teacher_of_one(trained_project, again):
    shutil.copytree(trained_project[0] / "models" / "teacher", again / "models" / "teacher")
    assert ended(command(again, "student"))[0] == 0
    together = bank(again)
    shutil.rmtree(again / ".espalier")
    content = yaml.safe_load((again / "params.yaml").read_text())
    content["models"]["student"]["processes"] = 1
    (again / "params.yaml").write_text(yaml.safe_dump(content))
    make.run(again, "student")
    assert len(together) == 2
    assert bank(again) == together


@pytest.mark.slow
def test_one_process_prunes_and_all_of_them_train_what_is_left(trained_project, again):
    shutil.copytree(trained_project[0] / "models" / "teacher", again / "models" / "teacher")
    status, out, err = ended(command(again, "pruned"))
    assert status == 0, err
    assert (again / "scored").read_text() == "0"
    assert json.loads(out.splitlines()[0])["epoch"] == 1
    folder = again / "models" / "pruned"
    load(folder)
    macs = [
        files.read_json(path / "metrics.json")["macs"]
        for path in (folder, folder.parent / "teacher")
    ]
    assert macs[0] <= 0.6 * macs[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("raise BadInput('Expected good input; found bad input.')", 2, ["found bad input."]),
        ("raise ZeroDivisionError('the defect')", 1, ["Traceback", "the defect"]),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 1, ["process 1", "SIGSEGV"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", 75, ["process 1", "SIGKILL", "memory"]),
    ],
)
def test_a_process_that_fails_ends_all_with_its_own_sentence(again, tmp_path, how, status, words):
    fail(again, how)
    outcome = tmp_path / "outcome.json"
    found, _, err = ended(command(again, ESPALIER_OUTCOME=str(outcome)))
    assert found == status, err
    assert all(word in err for word in words), err
    assert [line for line in err.splitlines() if line.startswith("espalier: ")] == [
        err.splitlines()[-1]
    ]
    assert files.read_json(outcome)["status"] == status
    assert_no_process_is_left(again)


def two_machines(root):
    """The ends of the commands of machine 0 and machine 1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"ESPALIER_RENDEZVOUS": f"127.0.0.1:{port}", "ESPALIER_NODES": "2"}
    both = [command(root, **meeting, ESPALIER_NODE=number) for number in "01"]
    return [ended(process) for process in both]


@pytest.mark.slow
def test_two_machines_train_one_model(again):
    content = yaml.safe_load((again / "params.yaml").read_text())
    content["teacher"] |= {"processes": 2, "epochs": 1}
    (again / "params.yaml").write_text(yaml.safe_dump(content))
    first, second = two_machines(again)
    assert second == (0, "", "")
    assert (first[0], first[2]) == (0, "")
    assert [json.loads(row)["epoch"] for row in first[1].splitlines()[:-1]] == [1]
    assert files.read_json(again / "models" / "teacher" / "lineage.json")["processes"] == 2


@pytest.mark.slow
def test_a_machine_that_fails_ends_the_other_one(again):
    fail(again, "raise BadInput('Expected good input; found bad input.')")
    first, second = two_machines(again)
    assert (second[0], second[2]) == (2, "espalier: Expected good input; found bad input.\n")
    assert first[0] == 75
    assert first[2].startswith(
        "espalier: Expected the processes that train together to be connected"
    )
    assert_no_process_is_left(again)


def test_processes_that_torchrun_started_are_refused(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="set `processes`"):
        make.run(tmp_path, "teacher")


@pytest.mark.parametrize(
    ("meeting", "words"),
    [
        ({"ESPALIER_RENDEZVOUS": "host"}, "HOST:PORT"),
        ({"ESPALIER_RENDEZVOUS": "host:1"}, "ESPALIER_NODES"),
        ({"ESPALIER_RENDEZVOUS": "host:1", "ESPALIER_NODES": "2", "ESPALIER_NODE": "2"}, "below"),
        (
            {"ESPALIER_RENDEZVOUS": "host:1", "ESPALIER_NODES": "2", "ESPALIER_NODE": "1"},
            "multiple",
        ),
    ],
)
def test_machines_that_cannot_meet_are_refused(project, monkeypatch, meeting, words):
    for name, value in meeting.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=words):
        make.run(project, "teacher")


ROOT = {"model": "espalier:resnet", "epochs": 1}


@pytest.mark.parametrize(
    "entry",
    [
        {"by": "quantize"},
        {"by": "quantize", "scheme": "dynamic"},
        {"by": "fold", "fold": "batch_norms"},
        {"by": "prune", "keep_macs": 0.5, "finetune": {"epochs": 0}},
        {"by": "import", "model": "espalier:mlp", "weights": "net.safetensors"},
    ],
)
def test_processes_are_refused_where_nothing_is_trained(entry):
    entry |= {"from": "teacher", "processes": 2}
    with pytest.raises(
        BadInput, match="Expected `processes` of small only where epochs are trained"
    ):
        check({"teacher": ROOT, "models": {"small": entry}})


@pytest.mark.parametrize(
    "entry",
    [
        {"by": "quantize", "scheme": "aware"},
        {"by": "quantize", "ladder": {}},
        {"by": "fold", "fold": "batch_norms", "finetune": {"epochs": 1}},
        {"by": "factorize", "keep_macs": 0.5},
        {"by": "share"},
        {
            "by": "prune",
            "keep_macs": 0.5,
            "steps": 2,
            "schedule": "linear",
            "finetune": {"epochs": 0},
        },
        {"by": "import", "model": "espalier:mlp", "weights": "net.safetensors", "epochs": 1},
    ],
)
def test_processes_are_taken_wherever_epochs_are_trained(entry):
    entry |= {"from": "teacher", "processes": 2}
    assert check({"teacher": ROOT, "models": {"small": entry}}).entry("small").processes == 2


def test_parts_of_a_batch_are_equal():
    with pytest.raises(BadInput, match="`batch_size` of teacher to be a multiple of `processes`"):
        check({"teacher": ROOT | {"processes": 3}, "training": {"batch_size": 64}})

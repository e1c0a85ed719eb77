"""Between the last write of a stage and DVC's record of it nothing is lost: no training is repeated."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from sample_projects import ENVIRONMENT

from espalier.commands import evaluate, make
from espalier.errors import BadInput
from espalier.making.kept import Kept, dvc_hash
from espalier.making.stage_dependencies import recorded_outputs

TEACHER = "models/teacher"


def call(root: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=root, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_graph(root: Path, *commands: str) -> None:
    stage = {"cmd": list(commands), "deps": ["prepared/dataset.json"], "outs": [TEACHER]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"teacher": stage}}))


def made_at(root: Path) -> float:
    """When the teacher was trained: another training has another time."""
    return json.loads((root / TEACHER / "lineage.json").read_text())["finished"]


def remove_as_dvc_does(root: Path, output: str) -> None:
    shutil.rmtree(root / output)


@pytest.fixture
def run_by_dvc(monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "teacher")


@pytest.mark.timeout(300)
def test_a_model_that_dvc_did_not_record_is_trained_once_and_one_that_it_did_again_by_force(
    tiny_copy,
):
    root = tiny_copy("teacher")
    call(root, "dvc", "init", "--no-scm", "--quiet")
    write_graph(root, "espalier make teacher", "touch made", "sleep 600")
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=root,
        env=ENVIRONMENT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    while not (root / "made").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    trained = made_at(root)

    write_graph(root, "espalier make teacher")
    assert "before DVC could record it" in call(root, "dvc", "repro")
    assert made_at(root) == trained
    assert recorded_outputs(root)[TEACHER] == dvc_hash(root / TEACHER)

    call(root, "dvc", "repro", "--force")
    assert made_at(root) > trained


@pytest.mark.timeout(300)
def test_a_model_that_was_made_by_hand_is_not_trained_again_by_the_pipeline(tiny_copy):
    root = tiny_copy("teacher")
    call(root, "dvc", "init", "--no-scm", "--quiet")
    write_graph(root, "espalier make teacher")
    call(root, "espalier", "make", "teacher")
    trained = made_at(root)
    assert "already made from these inputs" in call(root, "dvc", "repro")
    assert made_at(root) == trained
    assert recorded_outputs(root)[TEACHER] == dvc_hash(root / TEACHER)


def test_a_removed_model_is_put_back_whole_unless_its_copy_is_damaged(
    tiny_copy, run_by_dvc, capsys
):
    root = tiny_copy("teacher")
    make.run(root, "teacher")
    trained = made_at(root)
    remove_as_dvc_does(root, TEACHER)
    make.run(root, "teacher")
    assert "before DVC could record it" in capsys.readouterr().out
    assert made_at(root) == trained

    remove_as_dvc_does(root, TEACHER)
    weights = Kept(root, TEACHER).folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    make.run(root, "teacher")
    assert made_at(root) > trained


def test_a_model_of_other_inputs_is_not_put_back(tiny_copy, run_by_dvc):
    root = tiny_copy("teacher")
    make.run(root, "teacher")
    trained = made_at(root)
    remove_as_dvc_does(root, TEACHER)
    params = root / "params.yaml"
    params.write_text(
        params.read_text().replace(
            "depth: 8, width: 8}, epochs: 2", "depth: 8, width: 8}, epochs: 1"
        )
    )
    make.run(root, "teacher")
    assert made_at(root) > trained


def test_without_a_pipeline_nothing_is_kept(tiny_copy):
    root = tiny_copy("teacher")
    (root / "dvc.yaml").unlink(missing_ok=True)
    make.run(root, "teacher")
    assert not (root / ".espalier" / "kept").exists()


def test_reports_stay_while_an_evaluation_fails(tiny_copy, run_by_dvc):
    root = tiny_copy()
    params = root / "params.yaml"
    params.write_text(yaml.safe_dump({**yaml.safe_load(params.read_text()), "models": {}}))
    evaluate.run(root)
    before = (root / "reports" / "models.csv").read_bytes()
    remove_as_dvc_does(root, "reports")
    deployed = root / TEACHER / "model.onnx"
    deployed.write_bytes(deployed.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"model\.onnx"):
        evaluate.run(root)
    assert (root / "reports" / "models.csv").read_bytes() == before

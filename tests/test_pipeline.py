"""The whole pipeline on real data through its real parts: DVC, Prefect, PyTorch, ONNX Runtime and MLflow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.timeout(600)

ENTRIES = ("teacher", "student", "student-p60", "student-p60-int8")
PARAMS = {
    "seed": 1,
    "trusted": [],
    "data": {"validation": 0.15, "test": 0.2, "split": "exact"},
    "training": {"batch_size": 64, "threads": 1, "learning_rate": 0.05},
    "teacher": {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 16}, "epochs": 3},
    "models": {
        "student": {
            "from": "teacher", "by": "distill", "model": "espalier:resnet", "arguments": {"depth": 8, "width": 8},
            "epochs": 3,
        },
        "student-p60": {
            "from": "student", "by": "prune", "score": "taylor", "keep_macs": 0.6, "align": 1, "finetune": {"epochs": 1}
        },
        "student-p60-int8": {"from": "student-p60", "by": "quantize", "images": 64},
    },
    "evaluation": {"rounds": 5},
    "registry": {"name": "digits", "promote": True},
}  # fmt: skip
GATES = {"champion": {"choose": "smallest", "gates": {"drop": 0.5, "torch_agreement": 0.9}}}
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("MLFLOW_", "PREFECT_"))
} | {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "DVC_NO_ANALYTICS": "1",
}


def project(folder: Path, root: Path) -> Path:
    """A project with the shipped graph and data, and a tree that takes seconds."""
    (folder / ".dvc").mkdir(parents=True)
    for name in ("dvc.yaml", "data.dvc", ".dvcignore", ".gitignore"):
        shutil.copy(root / name, folder / name)
    for name in ("config", ".gitignore"):
        shutil.copy(root / ".dvc" / name, folder / ".dvc" / name)
    shutil.copytree(root / ".dvc" / "embedded", folder / ".dvc" / "embedded")
    write(folder, PARAMS)
    (folder / "mlflow").mkdir()
    (folder / "mlflow" / "gates.yaml").write_text(yaml.safe_dump(GATES))
    call(folder, "git", "init", "--quiet")
    return folder


def write(folder: Path, params: dict) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def hashes(folder: Path, name: str) -> dict[str, str]:
    manifest = json.loads((folder / "models" / name / "manifest.json").read_text())
    return {file: entry["sha256"] for file, entry in manifest["files"].items()}


def versions(folder: Path) -> dict[str, str]:
    receipt = json.loads((folder / "registered.json").read_text())
    return {entry: model["version"] for entry, model in receipt["models"].items()}


def champion(folder: Path) -> tuple[str, int]:
    """The entry that the champion is, and how many lines the audit has."""
    lines = [line.split() for line in call(folder, "espalier", "models").splitlines()]
    (version,) = [
        line[1] for line in lines if "champion" in [word.strip(",") for word in line[2:4]]
    ]
    return version, sum("done" in line for line in lines)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> tuple[Path, str]:
    folder = project(tmp_path_factory.mktemp("run") / "project", project_root)
    return folder, call(folder, "espalier", "run")


def test_a_run_makes_measures_and_registers_every_entry(ran):
    folder, printed = ran
    table = pd.read_csv(folder / "reports" / "models.csv", index_col="model")
    assert tuple(sorted(table.index)) == tuple(sorted(ENTRIES))
    assert set(versions(folder)) == set(ENTRIES)
    assert table.loc["teacher", "accuracy"] > 0.8
    assert table.loc["student-p60", "macs"] <= 0.6 * table.loc["student", "macs"]
    for entry in ENTRIES:
        assert entry in printed
    others = [
        line for line in printed.splitlines() if "espalier: warning:" not in line
    ]  # what we tell is meant
    for noise in ("Traceback", "Warning", "warning", "telemetry", "analytics"):
        assert noise not in "\n".join(others)


def test_a_second_run_makes_registers_and_promotes_nothing_and_dvc_agrees(ran):
    folder, _ = ran
    before = {entry: hashes(folder, entry) for entry in ENTRIES}, versions(folder)
    sizes = pd.read_csv(folder / "reports" / "models.csv", index_col="model")["bytes"]
    assert champion(folder) == (sizes.idxmin(), 1)
    printed = call(folder, "espalier", "run")
    assert "0 of 7 stages were made" in printed
    assert champion(folder) == (sizes.idxmin(), 1)
    assert ({entry: hashes(folder, entry) for entry in ENTRIES}, versions(folder)) == before
    assert "Data and pipelines are up to date." in call(folder, "dvc", "repro")


@pytest.mark.slow
def test_a_run_in_which_nothing_passes_says_so_and_keeps_the_champion(ran):
    folder, _ = ran
    version, moves = champion(folder)
    path = folder / "mlflow" / "gates.yaml"
    former = path.read_text()
    strict = {"champion": {"candidates": ["student"], "gates": {"bytes": 10}}}
    path.write_text(yaml.safe_dump(strict))
    assert "found none (student: bytes" in call(folder, "espalier", "run")
    assert champion(folder) == (version, moves)
    path.write_text(former)


def test_dvc_alone_gives_the_same_bits_and_fills_the_registry(ran, tmp_path, project_root):
    folder, _ = ran
    other = project(tmp_path / "other", project_root)
    call(other, "dvc", "pull", "--quiet", "data.dvc")
    call(other, "dvc", "repro", "--quiet")
    for entry in ENTRIES:
        ours, theirs = hashes(folder, entry), hashes(other, entry)
        for file in ("architecture.json", "weights.safetensors", "model.onnx"):
            assert ours[file] == theirs[file], (entry, file)
    assert set(versions(other)) == set(ENTRIES)


@pytest.mark.slow
def test_a_changed_entry_redoes_its_descendants_only_and_a_reverted_one_trains_nothing(ran):
    folder, _ = ran
    before, first = {entry: hashes(folder, entry) for entry in ENTRIES}, versions(folder)
    changed = json.loads(json.dumps(PARAMS))
    changed["models"]["student-p60"]["keep_macs"] = 0.5
    write(folder, changed)
    dry = {
        line.split()[0]: line
        for line in call(folder, "espalier", "run", "--dry").splitlines()
        if line.split()
    }
    assert "unchanged" in dry["student"]
    assert "unchanged" not in dry["student-p60"]
    assert "unchanged" not in dry["student-p60-int8"]
    call(folder, "espalier", "run")
    touched = {entry for entry in ENTRIES if hashes(folder, entry) != before[entry]}
    assert touched == {"student-p60", "student-p60-int8"}
    assert {entry for entry in ENTRIES if versions(folder)[entry] != first[entry]} == touched

    write(folder, PARAMS)
    printed = call(folder, "espalier", "run")
    # the very folders of before, with the times of their training in them
    assert {entry: hashes(folder, entry) for entry in ENTRIES} == before
    assert "epoch" not in printed
    assert versions(folder) == first


def test_the_registered_model_gives_the_answers_that_were_judged(ran):
    folder, _ = ran
    script = """
import sys, mlflow, pandas as pd
from safetensors.numpy import load_file
images = load_file("prepared/test.safetensors")["images"]
logits = mlflow.pyfunc.load_model("models:/digits@" + sys.argv[1]).predict(images)
logits = next(iter(logits.values())) if isinstance(logits, dict) else logits
judged = pd.read_parquet(f"reports/predictions/{sys.argv[1]}.parquet")
assert (logits.argmax(1) == judged["predicted"].to_numpy()).all()
print("equal", len(judged))
"""
    environment = ENVIRONMENT | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow/store/mlflow.db"}
    for entry in ("teacher", "student-p60-int8"):
        command = [sys.executable, "-c", script, entry]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert "equal 359" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_wiped_registry_is_filled_again_by_the_next_run(ran):
    folder, _ = ran
    shutil.rmtree(folder / "mlflow" / "store")
    assert "1 of 7 stages were made" in call(folder, "espalier", "run")
    assert set(versions(folder)) == set(ENTRIES)
    call(folder, "espalier", "register", "--check")

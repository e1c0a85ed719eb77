import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from espalier import files
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build, save
from espalier.steps import evaluate, show

PARAMS = """
teacher: {model: "espalier:mlp"}
models:
  nan: {from: student, by: prune, keep_macs: 0.5}
  student: {from: teacher, by: distill, model: "espalier:mlp"}
  teacher-int8: {from: teacher, by: quantize}
evaluation: {rounds: 3, batch_size: 100}
"""
HIDDEN = {"teacher": [64, 32], "student": [16], "nan": [8], "teacher-int8": [24], "former": [4]}
COLUMNS = [
    "model", "parent", "by", "accuracy", "drop", "parameters", "macs", "bytes",
    "latency_1_ms", "speedup_1", "latency_64_ms", "speedup_64",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(digits, tmp_path_factory) -> Path:
    """A project with four models, one of which has a name that tables take for nothing, and one undeclared."""
    root = tmp_path_factory.mktemp("made")
    (root / "params.yaml").write_text(PARAMS)
    shutil.copytree(digits, root / "prepared")
    dataset, images = read_dataset(digits), read_split(digits, "validation").images[:16]
    for seed, (name, hidden) in enumerate(HIDDEN.items()):
        torch.manual_seed(seed)
        network = build("espalier:mlp", classes=10, shape=(1, 8, 8), arguments={"hidden": hidden}).eval()
        folder = root / "models" / name
        save(network, folder)
        export(network, folder / "model.onnx", images, dataset.mean, dataset.std)
        figures = {"parameters": count_parameters(network), "macs": count_macs(network, (1, 8, 8))}
        files.write_json(folder / "metrics.json", figures | {"bytes": (folder / "model.onnx").stat().st_size})
        files.write_json(folder / "lineage.json", {"name": name})
        files.seal(folder)
    return root


@pytest.fixture
def project(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "project")
    return tmp_path / "project"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def evaluated(project, capsys) -> tuple[Path, str]:
    evaluate.run(project)
    return project, capsys.readouterr().out


def test_the_table_has_a_row_per_model_with_figures_that_agree_with_the_files(evaluated):
    root, _ = evaluated
    table = pd.read_csv(root / "reports" / "models.csv", keep_default_na=False)
    assert list(table.columns) == COLUMNS
    assert list(table["model"]) == ["teacher", "student", "nan", "teacher-int8"]
    assert list(table["parent"]) == ["", "teacher", "student", "teacher"]
    assert list(table["by"]) == ["train", "distill", "prune", "quantize"]
    for row in table.to_dict("records"):
        metrics = files.read_json(root / "models" / row["model"] / "metrics.json")
        assert {key: row[key] for key in metrics} == metrics
        answers = pd.read_parquet(root / "reports" / "predictions" / f"{row['model']}.parquet")
        assert row["accuracy"] == pytest.approx((answers["predicted"] == answers["label"]).mean())
        assert row["drop"] == pytest.approx(table["accuracy"][0] - row["accuracy"])
        assert min(row["latency_1_ms"], row["latency_64_ms"]) > 0
    assert table["speedup_1"][0] == table["speedup_64"][0] == 1


def test_predictions_are_those_of_the_deployed_file_on_the_test_split(evaluated):
    root, _ = evaluated
    test = read_split(root / "prepared", "test")
    assert {path.stem for path in (root / "reports" / "predictions").iterdir()} == set(HIDDEN) - {"former"}
    for name in ("teacher", "student"):
        session = onnxruntime.InferenceSession(root / "models" / name / "model.onnx")
        logits = session.run(None, {"image": test.images.numpy()})[0]
        answers = pd.read_parquet(root / "reports" / "predictions" / f"{name}.parquet")
        assert answers["example"].tolist() == list(range(359))
        assert answers["label"].tolist() == test.labels.tolist()
        assert answers["predicted"].tolist() == logits.argmax(1).tolist()
        np.testing.assert_allclose(np.stack(answers["logits"]), logits, rtol=0, atol=1e-5)


def test_models_that_are_declared_no_more_disappear_and_what_is_no_model_stays(project):
    (project / "models" / "notes").mkdir()
    (project / "models" / "notes" / "mine.txt").write_text("by hand")
    (project / "models" / ".gitignore").write_text("*")
    evaluate.run(project)
    assert {path.name for path in (project / "models").iterdir()} == set(HIDDEN) - {"former"} | {"notes", ".gitignore"}
    (project / "params.yaml").write_text('teacher: {model: "espalier:mlp"}\nevaluation: {rounds: 3}\n')
    evaluate.run(project)
    assert {path.name for path in (project / "models").iterdir()} == {"teacher", "notes", ".gitignore"}
    assert [path.name for path in (project / "reports" / "predictions").iterdir()] == ["teacher.parquet"]


@pytest.mark.parametrize(
    "damaged", ["models/student/model.onnx", "models/nan/metrics.json", "prepared/test.safetensors"]
)
def test_a_damaged_file_is_refused_by_name_and_the_reports_stay(evaluated, damaged):
    root, _ = evaluated
    before = contents(root / "reports")
    content = bytearray((root / damaged).read_bytes())
    content[len(content) // 2] ^= 1
    (root / damaged).write_bytes(content)
    with pytest.raises(BadInput, match=rf"{re.escape(damaged)} should have the SHA-256"):
        evaluate.run(root)
    assert contents(root / "reports") == before


def test_a_missing_model_is_refused_by_name(project):
    shutil.rmtree(project / "models" / "student")
    with pytest.raises(BadInput, match=r"models/student should be sealed by a manifest.json. Found none"):
        evaluate.run(project)
    assert not (project / "reports").exists()


def test_a_failure_on_the_way_leaves_the_reports_and_no_rubbish(evaluated, monkeypatch):
    root, _ = evaluated
    before = contents(root / "reports")
    monkeypatch.setattr(evaluate, "interleaved", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate.run(root)
    assert contents(root / "reports") == before
    assert not list((root / ".espalier" / "work").iterdir())


def test_the_tree_shows_each_model_once_under_its_parent(evaluated, capsys, monkeypatch):
    """On a terminal at once, and later by `show`; elsewhere one line says what was done."""
    root, said = evaluated
    assert said == "measured 4 models on 359 test examples; reports/ is ready\n"
    show.run(root)
    shown = capsys.readouterr().out
    header, *lines = shown.splitlines()
    names = [line[: header.index(" by")].rstrip() for line in lines]
    assert names == ["teacher", "├─ student", "│  └─ nan", "└─ teacher-int8"]
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    evaluate.run(root)
    said = capsys.readouterr().out
    assert [said.count(name) for name in names[1:]] == [1, 1, 1]

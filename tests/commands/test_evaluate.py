import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from properties import example_of
from sample_projects import call

from espalier import files
from espalier.commands import evaluate, show
from espalier.data.prepared import read_dataset, read_split
from espalier.data.writing import write_dataset, write_split
from espalier.errors import BadInput, Notice, TryAgain
from espalier.export.onnx import export
from espalier.measures.device import processor
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build, save
from espalier.report import costs

PARAMS = """
teacher: {model: "espalier:mlp"}
models:
  nan: {from: student, by: prune, keep_macs: 0.5}
  student: {from: teacher, by: distill, model: "espalier:mlp"}
  teacher-int8: {from: teacher, by: quantize}
evaluation: {rounds: 3, batch_size: 100}
"""
HIDDEN = {"teacher": [64, 32], "student": [16], "nan": [8], "teacher-int8": [24]}
COLUMNS = [
    "model", "parent", "by", "examples", "not_finite", "accuracy", "accuracy_low", "accuracy_high",
    "drop", "drop_low", "drop_high", "drop_p", "agreement", "forgotten",
    "worst_class", "worst_class_drop", "worst_class_drop_high", "top5", "ece",
    "parameters", "macs", "bytes", "packed_bytes", "energy_uj", "memory_1", "memory_64",
    "latency_1_ms", "latency_1_p95_ms", "speedup_1", "speedup_1_low", "speedup_1_high", "speedup_eager_1",
    "latency_64_ms", "latency_64_p95_ms", "speedup_64", "speedup_64_low", "speedup_64_high", "speedup_eager_64",
    "threads", "device", "front", "score",
]  # fmt: skip


@pytest.fixture(scope="module")
def built_project(digits, tmp_path_factory) -> Path:
    """A project with four models, one one of them with a name that tables read as missing."""
    root = tmp_path_factory.mktemp("built_project")
    (root / "params.yaml").write_text(PARAMS)
    shutil.copytree(digits, root / "prepared")
    dataset, images = read_dataset(digits), read_split(digits, "validation").inputs[:16]
    for seed, (name, hidden) in enumerate(HIDDEN.items()):
        torch.manual_seed(seed)
        network = build(
            "espalier:mlp", classes=10, shape=(1, 8, 8), arguments={"hidden": hidden}
        ).eval()
        folder = root / "models" / name
        save(network, folder)
        export(network, folder / "model.onnx", images, dataset.front())
        figures = {
            "parameters": count_parameters(network),
            "macs": count_macs(network, example_of((1, 8, 8))),
        }
        figures |= {"bytes": (folder / "model.onnx").stat().st_size}
        if name == "nan":
            figures["packed_bytes"] = 321
        files.write_json(folder / "metrics.json", figures)
        files.write_json(folder / "lineage.json", {"name": name})
        files.seal(folder)
    return root


@pytest.fixture
def project(built_project, tmp_path) -> Path:
    shutil.copytree(built_project, tmp_path / "project")
    return tmp_path / "project"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def evaluated(project, capsys) -> tuple[Path, str]:
    evaluate.run(project)
    return project, capsys.readouterr().out


def test_the_table_has_a_row_per_model_with_figures_that_agree_with_the_files(evaluated):
    root, _ = evaluated
    table = pd.read_csv(
        root / "reports" / "models.csv", keep_default_na=False, na_values={"packed_bytes": ""}
    )
    assert list(table.columns) == COLUMNS
    assert list(table["model"]) == ["teacher", "student", "nan", "teacher-int8"]
    assert list(table["parent"]) == ["", "teacher", "student", "teacher"]
    assert list(table["by"]) == ["train", "distill", "prune", "quantize"]
    labels = read_split(root / "prepared", "test").targets.numpy()
    teacher = pd.read_parquet(root / "reports" / "predictions" / "teacher.parquet")["predicted"]
    for row in table.to_dict("records"):
        metrics = files.read_json(root / "models" / row["model"] / "metrics.json")
        assert {key: row[key] for key in metrics} == metrics
        answers = pd.read_parquet(root / "reports" / "predictions" / f"{row['model']}.parquet")
        assert row["accuracy"] == pytest.approx((answers["predicted"] == answers["label"]).mean())
        assert row["drop"] == pytest.approx(table["accuracy"][0] - row["accuracy"])
        assert row["forgotten"] == answers["forgotten"].sum()
        assert (
            answers["forgotten"].tolist()
            == ((teacher == labels) & (answers["predicted"] != labels)).tolist()
        )
        for figure in ("accuracy", "drop"):
            assert row[f"{figure}_low"] <= row[figure] <= row[f"{figure}_high"]
        assert (row["examples"], row["not_finite"], row["threads"]) == (359, 0, 1)
        assert row["packed_bytes"] == 321 or row["model"] != "nan"
    assert table["front"].any()
    assert table["score"].equals(table["accuracy"])


def test_costs_are_measured_beside_the_teacher_in_the_same_runtime_and_in_eager_torch(evaluated):
    root, _ = evaluated
    table = pd.read_csv(root / "reports" / "models.csv", index_col="model", keep_default_na=False)
    for size in (1, 64):
        assert (table[f"latency_{size}_ms"] > 0).all()
        assert (table[f"latency_{size}_p95_ms"] >= table[f"latency_{size}_ms"]).all()
        assert (table[f"speedup_{size}_low"] <= table[f"speedup_{size}"]).all()
        assert (table[f"speedup_{size}"] <= table[f"speedup_{size}_high"]).all()
        bands = table.loc[
            "teacher", [f"speedup_{size}", f"speedup_{size}_low", f"speedup_{size}_high"]
        ]
        assert set(bands) == {1}
        assert table.loc["teacher", f"speedup_eager_{size}"] > 0
    assert (table["memory_1"] > 1e6).all()  # the runtime's own code alone takes more
    assert (table["memory_64"] >= table["memory_1"]).all()


def test_classes_have_a_table_of_their_own(evaluated):
    root, _ = evaluated
    classes = pd.read_csv(root / "reports" / "classes.csv", keep_default_na=False)
    table = pd.read_csv(root / "reports" / "models.csv", keep_default_na=False, index_col="model")
    assert list(classes["model"].unique()) == list(table.index)
    assert (classes.groupby("model")["examples"].sum() == 359).all()
    for name, drops in classes[classes["model"] != "teacher"].groupby("model"):
        assert set(drops["class"].astype(str)) == set("0123456789")
        assert table.loc[name, "worst_class_drop"] == pytest.approx(drops["drop"].max())
        assert table.loc[name, "worst_class_drop_high"] == pytest.approx(drops["drop_high"].max())
        assert table.loc[name, "forgotten"] == drops["lost"].sum()


def test_the_conditions_say_what_was_judged_on_what(evaluated):
    root, _ = evaluated
    conditions = files.read_json(root / "reports" / "conditions.json")
    assert conditions["data"] == files.sha256(root / "prepared" / "dataset.json")
    assert conditions["models"] == {
        name: files.sha256(root / "models" / name / "model.onnx") for name in HIDDEN
    }
    assert (conditions["threads"], conditions["processes"]) == (1, 1)
    assert conditions["onnxruntime"] == onnxruntime.__version__
    assert conditions["device"] == (
        f"{processor()}, 1 thread, onnxruntime {onnxruntime.__version__} (CPUExecutionProvider)"
    )
    assert set(pd.read_csv(root / "reports" / "models.csv")["device"]) == {conditions["device"]}


def test_a_model_that_was_pruned_by_latencies_of_another_device_is_named(project):
    folder = project / "models" / "student"
    lineage = files.read_json(folder / "lineage.json")
    files.write_json(folder / "lineage.json", lineage | {"latency_device": "another processor"})
    files.seal(folder)
    with pytest.warns(
        Notice, match=r"by which student was pruned .*found another processor: .*fleet"
    ):
        evaluate.run(project)


def test_classes_without_test_examples_are_named(project):
    prepared = project / "prepared"
    dataset, path = read_dataset(prepared), prepared / "test.safetensors"
    test = read_split(prepared, "test")
    images, labels = test.inputs.numpy().copy(), test.targets.numpy().copy()
    path.unlink()
    write_split(path, images, np.flatnonzero(labels < 8), labels[labels < 8])
    hashes = {**dataset.files, path.name: files.sha256(path)}
    write_dataset(prepared, replace(dataset, files=hashes))
    with pytest.warns(Notice, match="found none of '8', '9': nothing bounds"):
        evaluate.run(project)
    table = pd.read_csv(project / "reports" / "models.csv", index_col="model")
    assert table.loc["student", "worst_class_drop_high"] == 1


def test_a_model_without_finite_outputs_shows_in_every_figure(project):
    """And the others are judged as ever."""
    dataset, images = (
        read_dataset(project / "prepared"),
        read_split(project / "prepared", "validation").inputs[:16],
    )
    network = build("espalier:mlp", classes=10, shape=(1, 8, 8), arguments={"hidden": [16]}).eval()
    folder = project / "models" / "student"
    export(network, folder / "model.onnx", images, dataset.front())
    model = onnx.load(folder / "model.onnx")
    weights = model.graph.initializer[-1]
    weights.CopyFrom(
        onnx.numpy_helper.from_array(
            onnx.numpy_helper.to_array(weights) * np.float32(np.nan), weights.name
        )
    )
    onnx.save(model, folder / "model.onnx")
    files.seal(folder)
    evaluate.run(project)
    table = pd.read_csv(
        project / "reports" / "models.csv", index_col="model", keep_default_na=False
    )
    student, other = table.loc["student"], table.loc["teacher-int8"]
    assert (student["accuracy"], student["not_finite"], student["agreement"], student["ece"]) == (
        0,
        359,
        0,
        "",
    )
    assert (other["not_finite"], bool(other["ece"])) == (0, True)
    answers = pd.read_parquet(project / "reports" / "predictions" / "student.parquet")
    assert set(answers["predicted"]) == {-1}


def test_predictions_are_those_of_the_deployed_file_on_the_test_split(evaluated):
    root, _ = evaluated
    test = read_split(root / "prepared", "test")
    assert {path.stem for path in (root / "reports" / "predictions").iterdir()} == set(HIDDEN)
    for name in ("teacher", "student"):
        session = onnxruntime.InferenceSession(root / "models" / name / "model.onnx")
        logits = session.run(None, {"image": test.inputs.numpy()})[0]
        answers = pd.read_parquet(root / "reports" / "predictions" / f"{name}.parquet")
        assert answers["example"].tolist() == list(range(359))
        assert answers["label"].tolist() == test.targets.tolist()
        assert answers["predicted"].tolist() == logits.argmax(1).tolist()
        np.testing.assert_allclose(np.stack(answers["logits"]), logits, rtol=0, atol=1e-5)


def test_a_model_that_dvc_does_not_hold_is_left_where_it_is(project):
    by_hand = project / "models" / "teacher-copy"
    shutil.copytree(project / "models" / "teacher", by_hand)
    with pytest.warns(Notice, match=r"teacher-copy to be a model .* left there and not evaluated"):
        evaluate.run(project)
    assert files.verify(by_hand) == files.verify(project / "models" / "teacher")
    table = pd.read_csv(project / "reports" / "models.csv", keep_default_na=False)
    assert "teacher-copy" not in set(table["model"])


@pytest.fixture
def former(project):
    """The model of an entry that is declared no more, as DVC has recorded it."""
    folder = shutil.copytree(project / "models" / "student", project / "models" / "former")
    stage = {"cmd": "true", "outs": ["models/former"]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"former": stage}}))
    for words in (["init", "--no-scm", "--quiet"], ["commit", "--force", "--quiet"]):
        call(project, "dvc", *words)
    return folder


def test_a_model_that_is_declared_no_more_goes_if_the_cache_has_it(project, former, capsys):
    (project / "models" / "notes").mkdir()
    (project / "models" / "notes" / "mine.txt").write_text("by hand")
    evaluate.run(project)
    assert not former.exists()
    assert {path.name for path in (project / "models").iterdir()} >= {*HIDDEN, "notes"}
    assert "former: not in params.yaml, removed; DVC's cache keeps it" in capsys.readouterr().out
    call(project, "dvc", "checkout", "--quiet")
    files.verify(former)


def changed(project, former):
    (former / "history.csv").write_text("by hand")


def collected(project, former):
    shutil.rmtree(project / ".dvc" / "cache")


@pytest.mark.parametrize("lose", [changed, collected])
def test_a_model_that_the_cache_has_otherwise_or_no_more_is_left(project, former, lose):
    lose(project, former)
    with pytest.warns(Notice, match=r"former to be a model .* left there and not evaluated"):
        evaluate.run(project)
    assert (former / "weights.safetensors").exists()


@pytest.mark.parametrize(
    "damaged", ["models/student/model.onnx", "models/nan/metrics.json", "prepared/test.safetensors"]
)
def test_a_damaged_file_is_refused_by_name_and_the_reports_stay(evaluated, damaged):
    root, _ = evaluated
    before = contents(root / "reports")
    content = bytearray((root / damaged).read_bytes())
    content[len(content) // 2] ^= 1
    (root / damaged).write_bytes(content)
    with pytest.raises(BadInput, match=rf"{re.escape(damaged)} to have the SHA-256"):
        evaluate.run(root)
    assert contents(root / "reports") == before


def test_a_missing_model_is_refused_by_name(project):
    shutil.rmtree(project / "models" / "student")
    with pytest.raises(
        BadInput,
        match=r"models/student to be the folder .* found no folder: `espalier run` makes it",
    ):
        evaluate.run(project)
    assert not (project / "reports").exists()


def test_a_failure_on_the_way_leaves_the_reports_and_no_rubbish(evaluated, monkeypatch):
    root, _ = evaluated
    before = contents(root / "reports")
    monkeypatch.setattr(costs, "in_sittings", lambda *_, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate.run(root)
    assert contents(root / "reports") == before
    assert not list((root / ".espalier" / "work").iterdir())


def with_more_rounds(root):
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("rounds: 3", "rounds: 4"))


def with_another_student(root):
    files.write(root / "models" / "student" / "metrics.json", b"{}")
    files.seal(root / "models" / "student")


def with_other_data(root):
    path = root / "prepared" / "dataset.json"
    path.write_text(path.read_text() + " ")


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (with_more_rounds, "evaluation"),
        pytest.param(with_another_student, "student", marks=pytest.mark.slow),
        pytest.param(with_other_data, "data", marks=pytest.mark.slow),
    ],
)
def test_inputs_edited_meanwhile_leave_the_former_reports(evaluated, monkeypatch, edit, named):
    root, _ = evaluated
    before = contents(root / "reports")
    measure = costs.in_sittings

    def edited(*arguments, **named):
        edit(root)
        return measure(*arguments, **named)

    monkeypatch.setattr(costs, "in_sittings", edited)
    with pytest.raises(TryAgain, match=f"found other {named} when it ended"):
        evaluate.run(root)
    assert contents(root / "reports") == before


def test_the_tree_shows_each_model_once_under_its_parent(evaluated, capsys, monkeypatch):
    """On a terminal at once, and later by `show`; elsewhere one line says what was done."""
    root, said = evaluated
    assert said.splitlines() == ["measured 4 models on 359 test examples; reports/ is ready"]
    show.run(root)
    shown = capsys.readouterr().out
    header, *lines, _ = shown.splitlines()
    names = [line[: header.index(" by")].rstrip(" *") for line in lines]
    assert names == ["teacher", "├─ student", "│  └─ nan", "└─ teacher-int8"]
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    evaluate.run(root)
    said = capsys.readouterr().out
    assert [said.count(name) for name in names[1:]] == [1, 1, 1]

"""Students of some classes of the data, or of concepts, from the YAML to the gates."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from properties import assert_explains

from espalier import files
from espalier.commands import evaluate, make, promote, register, show
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.judging import drop_interval
from espalier.models import content_hash
from espalier.models.folder import read_architecture
from espalier.params import check
from espalier.paths import DEPLOYED
from espalier.registry.connection.store import find_store
from espalier.registry.promotion import RefusedError

SMALL = {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 4}}
DISTILL = {"from": "teacher", "by": "distill", **SMALL}
THREE = {"1": ["1"], "3": ["3"], "7": ["7"]}
EVEN = {"even": [0, 2, 4, 6, 8], "odd": "rest"}
MODELS = {
    "student": {**DISTILL, "epochs": 1},
    "three": {**DISTILL, "epochs": 20, "classes": [1, 3, 7]},
    "three-p60": {
        "from": "three",
        "by": "prune",
        "keep_macs": 0.6,
        "align": 1,
        "finetune": {"epochs": 2},
    },
    "three-int8": {"from": "three-p60", "by": "quantize", "images": 64},
    "three-again": {**DISTILL, "from": "three", "epochs": 2},
    "even": {**DISTILL, "epochs": 8, "classes": EVEN},
}
NARROW = ("three", "three-p60", "three-int8", "three-again")


def write(root, models, gates=None, **more):
    content = yaml.safe_load((root / "params.yaml").read_text()) | {"models": models} | more
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    if gates is not None:
        (root / "mlflow").mkdir(exist_ok=True)
        (root / "mlflow" / "gates.yaml").write_text(yaml.safe_dump(gates))


@pytest.fixture(scope="module")
def built_project(tiny, tmp_path_factory):
    """A project with students of all classes, of three and of two concepts; evaluated."""
    root = tmp_path_factory.mktemp("classes") / "project"
    shutil.copytree(tiny, root, ignore=shutil.ignore_patterns("locks", "work"))
    write(root, MODELS)
    for name in MODELS:
        make.run(root, name)
    evaluate.run(root)
    return root


@pytest.fixture
def project(built_project, tmp_path):
    return shutil.copytree(built_project, tmp_path / "project")


def outputs(root, name):
    session = onnxruntime.InferenceSession(root / "models" / name / DEPLOYED)
    return session.run(None, {"image": read_split(root / "prepared", "test").inputs.numpy()})[0]


def table(root):
    path = root / "reports" / "models.csv"
    return pd.read_csv(path, keep_default_na=False).set_index("model")


def question(root, groups):
    """The test examples of some groups of labels, and the number of the group of each, by loops."""
    labels = read_split(root / "prepared", "test").targets.tolist()
    pairs = [
        (index, number)
        for index, label in enumerate(labels)
        for number, group in enumerate(groups)
        if label in group
    ]
    return np.array([index for index, _ in pairs]), np.array([number for _, number in pairs])


def probabilities(logits):
    powers = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def summed(root, groups):
    """The probabilities that the teacher gives to groups of labels."""
    each = probabilities(outputs(root, "teacher"))
    return np.stack([each[:, group].sum(1) for group in groups], 1)


GROUPS = {"three": [[1], [3], [7]], "even": [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]}


@pytest.mark.parametrize("name", [*NARROW, "even"])
def test_the_deployed_file_has_an_output_for_each_concept_and_children_inherit_them(
    built_project, name
):
    concepts = THREE if name in NARROW else {"even": list("02468"), "odd": list("13579")}
    folder = built_project / "models" / name
    assert read_architecture(folder).concepts == concepts
    dims = onnx.load(folder / DEPLOYED).graph.output[0].type.tensor_type.shape.dim
    assert dims[1].dim_value == len(concepts)
    assert files.read_json(folder / "metrics.json")["classes"] == len(concepts)
    assert files.read_json(folder / "classes.json")["classes"] == list(concepts)
    assert outputs(built_project, name).shape == (359, len(concepts))


def test_models_of_all_classes_say_nothing_about_classes(built_project):
    for name in ("teacher", "student"):
        folder = built_project / "models" / name
        assert "concepts" not in files.read_json(folder / "architecture.json")
        assert "classes" not in files.read_json(folder / "metrics.json")
        assert "classes" not in files.read_json(folder / "lineage.json")["entry"]


@pytest.mark.parametrize("name", GROUPS)
def test_the_table_has_the_figures_of_the_restricted_question(built_project, name):
    """Against loops over the outputs of the deployed files: examples, accuracy, drop and agreement."""
    index, targets = question(built_project, GROUPS[name])
    own = outputs(built_project, name)[index].argmax(1) == targets
    teacher = summed(built_project, GROUPS[name])[index].argmax(1) == targets
    row = table(built_project).loc[name]
    assert row["examples"] == len(index)
    assert row["accuracy"] == pytest.approx(own.mean())
    assert row["drop"] == pytest.approx(teacher.mean() - own.mean())
    lost, gained = (teacher & ~own).sum(), (own & ~teacher).sum()
    low, high = drop_interval(lost, gained, len(index))
    assert row["drop_low"] == pytest.approx(float(low))
    assert row["drop_high"] == pytest.approx(float(high))
    assert row["forgotten"] == lost
    assert row["worst_class"] in read_architecture(built_project / "models" / name).concepts
    predicted = pd.read_parquet(built_project / "reports" / "predictions" / f"{name}.parquet")
    assert predicted["example"].tolist() == index.tolist()
    assert predicted["label"].tolist() == targets.tolist()


@pytest.mark.parametrize("name", GROUPS)
def test_a_student_beats_chance_by_far_and_is_as_good_as_the_teacher_within_the_interval(
    built_project, name
):
    row = table(built_project).loc[name]
    assert row["accuracy_low"] > 1.5 / len(GROUPS[name])
    assert row["drop_low"] <= 0


def test_the_table_says_which_classes_and_the_front_compares_only_models_of_the_same(
    built_project, capsys
):
    found = table(built_project)
    assert found["classes"].to_dict() == {
        "teacher": "",
        "student": "",
        **dict.fromkeys(NARROW, "1, 3, 7"),
        "even": "even (0, 2, 4, 6, 8), odd (1, 3, 5, 7, 9)",
    }
    for words, rows in found.groupby("classes"):
        assert rows["front"].any(), words
    assert found["front"]["even"]  # the only model of its classes
    classes = pd.read_csv(built_project / "reports" / "classes.csv", dtype={"class": str})
    assert list(classes[classes["model"] == "three"]["class"]) == ["1", "3", "7"]
    assert list(classes[classes["model"] == "even"]["class"]) == ["even", "odd"]
    show.run(built_project)
    assert "three: judged on the" in capsys.readouterr().out


def test_the_page_names_the_classes_and_leaves_other_questions_out_of_the_front(built_project):
    page = (built_project / "reports" / "index.html").read_text()
    assert "Models of other classes are left out: three, three-p60" in page
    assert "judged on the test examples of 1, 3, 7 alone" in page


def test_the_learning_signal_is_the_teachers_restricted_answer(built_project):
    """The bank of a student holds logits whose softmax is renormalised, or summed by concept."""
    from espalier.making.job import Job
    from espalier.making.teachers import bank_of
    from espalier.params import read_params

    params = read_params(built_project)
    whole = bank_of(Job.of(built_project, "student", params), "teacher").view(0).numpy()
    labels = read_split(built_project / "prepared", "train").targets.numpy()
    for name, groups in GROUPS.items():
        job = Job.of(built_project, name, params)
        found = probabilities(bank_of(job, "teacher").view(0).numpy())
        inside = np.isin(labels, np.concatenate(groups))
        assert len(found) == inside.sum() == len(job.data.train)
        assert np.allclose(found.sum(1), 1)
        if name == "even":  # all examples, so that the augmented views are the same
            each = probabilities(whole)
            expected = np.stack([each[:, group].sum(1) for group in groups], 1)
            assert np.allclose(found, expected, atol=5e-3)  # both are stored in half precision
        assert job.data.train.targets.unique().tolist() == list(range(len(groups)))


def test_a_mapping_of_single_classes_is_the_list_and_another_order_another_model(tiny_copy):
    project = tiny_copy()
    entry = {**DISTILL, "epochs": 1}
    models = {
        "a": {**entry, "classes": [1, 3, 7]},
        "b": {**entry, "classes": THREE},
        "c": {**entry, "classes": [7, 3, 1]},
    }
    write(project, models)
    for name in models:
        make.run(project, name)
    hashes = [content_hash(project / "models" / name) for name in models]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ([1, "three"], ["'three'", "0, 1, 2"]),
        ({"a": [1, 2, 3, 4, 5], "b": [6, 7, 8, 9, 0], "c": "rest"}, ["'c'", "rest"]),
        ([1, "11"], ["'11'", "nearest", "'1'"]),
    ],
)
def test_classes_that_the_data_do_not_have_are_refused(tiny_copy, classes, words):
    project = tiny_copy()
    write(project, {"a": {**DISTILL, "epochs": 1, "classes": classes}})
    with pytest.raises(BadInput) as caught:
        make.run(project, "a")
    assert_explains(caught.value, *words)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ([3], ["at least two", "1"]),
        ([3, 3], ["once", "'3'"]),
        ({"a": [1, 2], "b": [2, 3]}, ["once", "'2'"]),
        ({"a": [], "b": [1]}, ["list of names"]),
        ("3", ["list of names", "'3'"]),
        ([True, 3], ["in quotes", "True"]),
        ({"a": "rest", "b": "rest"}, ["once", "'rest'"]),
    ],
)
def test_classes_of_another_form_are_refused_in_a_sentence(classes, words):
    models = {"a": {**DISTILL, "classes": classes}}
    with pytest.raises(BadInput) as caught:
        check({"teacher": SMALL, "models": models})
    assert_explains(caught.value, "models.a", *words)


CHILDREN = {
    "fold": {"by": "fold", "fold": "batch_norms"},
    "share": {"by": "share", "bits": 4},
    "low": {"by": "factorize", "keep_macs": 0.8, "align": 1, "finetune": {"epochs": 0}},
    "more": {"by": "train", "epochs": 1},
    "aware": {"by": "quantize", "scheme": "aware", "finetune": {"epochs": 1}},
    "new": {"by": "train", "epochs": 1, **SMALL},
    "mutual": {**DISTILL, "losses": [{"loss": "mutual", **SMALL}], "epochs": 1},
    "fused": {**DISTILL, "losses": [{"loss": "decoupled"}, {"loss": "review"}], "epochs": 1},
    "old": {"by": "import", **SMALL, "weights": "models/three/weights.safetensors"},
}


@pytest.mark.parametrize("name", CHILDREN)
def test_every_operation_keeps_the_classes(project, name):
    write(project, MODELS | {name: CHILDREN[name] | {"from": "three"}})
    make.run(project, name)
    assert read_architecture(project / "models" / name).concepts == THREE
    assert outputs(project, name).shape == (359, 3)
    index, targets = question(project, GROUPS["three"])
    right = outputs(project, name)[index].argmax(1) == targets
    assert name in ("new", "mutual", "fused") or right.mean() > 0.8
    assert files.read_json(project / "models" / name / "lineage.json")["classes"] == THREE


def test_a_parent_of_former_classes_is_refused(project):
    changed = MODELS["three"] | {"classes": [1, 3, 8]}
    write(project, MODELS | {"three": changed})
    for name in ("three-p60", "three-again"):
        with pytest.raises(BadInput) as caught:
            make.run(project, name)
        assert_explains(caught.value, "'three'" if name == "three-again" else "three", "1, 3, 7")


def test_classes_of_classes_are_refused():
    nested = {**DISTILL, "from": "three", "classes": [1, 3]}
    with pytest.raises(BadInput) as caught:
        check({"teacher": SMALL, "models": MODELS | {"nested": nested}})
    assert_explains(caught.value, "models.nested.from", "'three'")


def test_an_alias_goes_to_models_of_one_question_only(project, capsys):
    """Without `candidates` only models of all classes are judged; named ones answer the same classes."""
    loose = {"gates": {"examples": 50}}
    mixed = {"champion": {**loose, "candidates": ["student", "three"]}}
    write(project, MODELS, gates={"champion": loose})
    register.run(project)
    promote.run(project)
    assert "champion is version" in capsys.readouterr().out
    write(project, MODELS, gates=mixed)
    with pytest.raises(BadInput) as caught:
        promote.run(project)
    assert_explains(caught.value, "same classes", "'student' (all classes)", "'three' (1, 3, 7)")
    # the champion answers ten classes: no model of three may take its place
    write(project, MODELS, gates={"champion": {**loose, "candidates": ["three", "three-p60"]}})
    with pytest.raises(RefusedError) as caught:
        promote.run(project)
    assert "three: classes 1, 3, 7" in str(caught.value)
    assert "three-p60: classes 1, 3, 7" in str(caught.value)
    # another alias, which no version has yet, may; after that it compares the same question
    gates = {"examples": 50, "champion_drop": 0.5, "drop": 0.5, "torch_agreement": 0.9}
    write(project, MODELS, gates={"digits-137": {"candidates": ["three"], "gates": gates}})
    promote.run(project)
    write(project, MODELS, gates={"digits-137": {"candidates": ["three-int8"], "gates": gates}})
    promote.run(project)
    client = MlflowClient(find_store(project).uri)
    version = client.get_model_version_by_alias("digits", "digits-137")
    assert version.tags["espalier.entry"] == "three-int8"
    assert version.tags["espalier.classes"] == '["1", "3", "7"]'
    for copied in ("three-int8", "three"):
        write(project, MODELS, gates={"digits-137": {"candidates": [copied], "gates": gates}})
        promote.run(project, alias="digits-137")
        promote.run(project, alias="digits-137", into="prod.digits")
    copy = client.get_model_version_by_alias("prod.digits", "digits-137")
    assert copy.tags["espalier.entry"] == "three"
    write(project, MODELS, gates={"digits-137": {"candidates": ["student"], "gates": gates}})
    with pytest.raises(RefusedError) as caught:
        promote.run(project)
    assert "classes all classes of the data" in str(caught.value)
    write(
        project,
        {name: MODELS[name] for name in NARROW},
        gates={"champion": loose},
    )
    shutil.rmtree(project / "reports")
    evaluate.run(project)
    with pytest.raises(BadInput) as caught:
        promote.run(project)
    assert_explains(caught.value, "`candidates`", "all classes")

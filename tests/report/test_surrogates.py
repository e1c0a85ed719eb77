"""Decision trees that answer like a network: fidelity, comparison with the teacher, features, and the page."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from pages import Page
from properties import assert_explains

from espalier import files, optional
from espalier.commands import evaluate, report
from espalier.data.prepared import Dataset, read_split
from espalier.errors import BadInput
from espalier.inputs.table import TableFacts
from espalier.inputs.text import TextFacts, TextInput
from espalier.params import read_params
from espalier.prediction import task_named
from espalier.report.understanding.explain import _Project
from espalier.report.understanding.features import Features, interpretable_features
from espalier.report.understanding.surrogates import Surrogates, surrogates

CLASSES = ("no", "yes")
TASK = task_named("classification", {})
REGRESSION = task_named("regression", {"mean": 0.0, "std": 1.0, "tolerance": 0.5, "bounds": []})


def coins(seed: int, count: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3)).astype(np.float32)


FEATURES = Features(("a", "b", "c"), coins(0), coins(1))


def answers(function) -> tuple[np.ndarray, np.ndarray]:
    return function(FEATURES.fitted), function(FEATURES.tested)


def by_a(x):
    return (x[:, 0] > 0.5).astype(int)


def by_b(x):
    return (x[:, 1] > 0.5).astype(int)


def by_chance(x):
    return np.random.default_rng(len(x)).integers(0, 2, len(x))


def test_a_network_of_one_question_is_its_tree_and_another_shares_no_feature():
    found = surrogates(
        FEATURES, {"first": answers(by_a), "other": answers(by_b)}, TASK, CLASSES, depth=1
    )
    first, other = found.models["first"], found.models["other"]
    assert (first.leaves, first.importance) == (2, [1.0, 0.0, 0.0])
    assert first.fidelity > 0.98
    assert (first.networks_agree, first.trees_agree, first.shared_importance) == (1, 1, 1)
    assert other.importance == [0.0, 1.0, 0.0]
    assert other.shared_importance == 0
    assert other.networks_agree == np.mean(by_a(FEATURES.tested) == by_b(FEATURES.tested))
    assert "a <= 0.5" in first.rules
    assert first.rules.count("class: yes") == first.rules.count("class: no") == 1


def test_fidelity_is_of_examples_to_which_the_tree_was_not_fitted():
    """A deep tree knows the fitted examples by heart; on others, answers by chance are met by chance."""
    found = surrogates(FEATURES, {"first": answers(by_chance)}, TASK, CLASSES, depth=12)
    assert found.models["first"].leaves > 40
    assert 0.4 < found.models["first"].fidelity < 0.6


def test_a_constant_network_is_a_single_leaf_no_better_than_the_constant():
    found = surrogates(
        FEATURES, {"first": answers(lambda x: np.ones(len(x), int))}, TASK, CLASSES, depth=3
    )
    first = found.models["first"]
    assert (first.leaves, first.fidelity, first.constant) == (1, 1, 1)
    assert first.importance == [0, 0, 0]


def test_values_are_compared_by_the_coefficient_of_determination():
    double = answers(lambda x: 2 * x[:, 0])
    moved = answers(lambda x: 2 * x[:, 0] + 1)
    found = surrogates(FEATURES, {"first": double, "other": moved}, REGRESSION, (), depth=5)
    first, other = found.models["first"], found.models["other"]
    assert first.fidelity > 0.99
    assert first.constant < 0.01
    assert first.importance[0] > 0.99
    spread = np.var(2 * FEATURES.tested[:, 0])
    assert other.networks_agree == pytest.approx(1 - 1 / spread, rel=1e-3)


def test_the_same_answers_give_the_same_bytes():
    one, two = (
        surrogates(FEATURES, {"first": answers(by_a)}, TASK, CLASSES, depth=4) for _ in range(2)
    )
    assert one == two


def dataset(kind: str, facts: object, shape: tuple[int, ...]) -> Dataset:
    return Dataset("d", CLASSES, shape, {}, 0, "", {}, facts, kind=kind)


def test_cells_of_an_image_are_means_of_their_pixels():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[0, 0, :2, 2:4] = 255
    found = interpretable_features(dataset("image", None, (3, 8, 8)), images, images[:1])
    assert len(found.names) == 3 * 16
    assert found.fitted.shape == (2, 48)
    place = found.names.index("red row 1, column 2")
    assert found.tested[0, place] == 1
    assert found.fitted.sum() == 1


def test_columns_of_a_table_are_features_and_may_be_missing():
    facts = TableFacts(("age", "port"), ((), ("x", "y")), (0.0, 0.0), (1.0, 1.0))
    rows = torch.tensor([[float("nan"), 1.0], [30.0, -1.0], [40.0, 0.0], [50.0, 1.0]])
    found = interpretable_features(dataset("table", facts, (2,)), rows, rows)
    assert found.names == ("age", "port")
    own = (np.array([0, 0, 1, 1]),) * 2
    tree = surrogates(found, {"first": own}, TASK, CLASSES, depth=2).models["first"]
    assert (tree.fidelity, tree.importance) == (1, [1.0, 0.0])


def test_words_are_chosen_in_the_fitted_texts_alone_by_the_number_of_texts(monkeypatch):
    monkeypatch.setattr(
        TextInput, "parts", lambda self, example, facts: [f"w{n}" for n in example.tolist()]
    )
    fitted = torch.tensor([[5, 5, 7, 0], [7, 9, 0, 0], [5, 7, 8, 0]], dtype=torch.int32)
    tested = torch.tensor([[9, 5, 6, 0], [6, 6, 0, 0]], dtype=torch.int32)
    found = interpretable_features(dataset("text", TextFacts(10, {}), (4,)), fitted, tested)
    assert found.names == ("w7", "w5")  # 9 and 8 are in one text only
    assert found.fitted.tolist() == [[1, 1], [1, 0], [1, 1]]
    assert found.tested.tolist() == [[0, 1], [0, 0]]


def test_tensors_have_no_features_with_a_meaning():
    values = torch.zeros(2, 3)
    assert interpretable_features(dataset("tensor", None, (3,)), values, values) is None


@pytest.fixture(scope="module")
def explained(judged, tmp_path_factory):
    """The project of digits, evaluated with surrogates."""
    root = shutil.copytree(judged, tmp_path_factory.mktemp("explained") / "project")
    content = yaml.safe_load((root / "params.yaml").read_text())
    content["evaluation"]["surrogate_depth"] = 5
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    evaluate.run(root)
    return root


@pytest.fixture(scope="module")
def found(explained) -> Surrogates:
    return Surrogates.read(explained / "reports" / "surrogates.json")


def test_trees_of_digits_explain_part_of_their_networks(found):
    assert set(found.models) == {"teacher", "student", "student-p60", "student-int8"}
    assert next(iter(found.models)) == "teacher"
    assert (found.fitted, found.tested) == (1222, 216)
    assert (len(found.features), found.depth) == (16, 5)
    for one in [*found.models.values(), found.again]:
        assert one.constant < one.fidelity < 1
        assert one.leaves <= 32
        assert sum(one.importance) == pytest.approx(1)
    assert found.models["teacher"].constant < 0.3 < 0.6 < found.models["teacher"].fidelity
    own, integers = found.models["student"], found.models["student-int8"]
    assert own == integers  # integers are explained by the network behind them


def test_the_agreement_of_networks_is_of_their_answers_to_validation(explained, found):
    project = _Project.open(explained, read_params(explained))
    split = read_split(explained / "prepared", "validation")
    with torch.no_grad():
        own = {
            name: project.network(name)(project.front(name)(split.inputs)).argmax(1)
            for name in ("teacher", "student")
        }
    same = (own["teacher"] == own["student"]).double().mean().item()
    assert found.models["student"].networks_agree == pytest.approx(same)


def test_the_page_shows_fidelity_beside_each_tree_and_importance_side_by_side(explained, found):
    page = Page((explained / "reports" / "index.html").read_bytes())
    names = list(found.models)
    first, second = (
        [one["text"] for one in page.all("th", "surrogates", scope="row")][: len(names) + 1],
        [one["text"] for one in page.all("summary", "surrogates")],
    )
    assert first == [names[0], "teacher, again", *names[1:]]
    for name, summary in zip(names, second, strict=True):
        assert summary == f"the tree of {name}: {100 * found.models[name].fidelity:.1f} % fidelity"
    cells = [one["text"] for one in page.all("td", "surrogates")]
    teacher = found.models["teacher"]
    shown = [f"{100 * teacher.fidelity:.1f} %", f"{100 * teacher.constant:.1f} %"]
    assert cells[:2] == shown
    text = page.all("section", id="surrogates")[0]["text"]
    top = found.features[int(np.argmax(teacher.importance))]
    assert f"{top}{100 * max(teacher.importance):.1f}" in text


def test_the_page_of_a_project_without_trees_says_how_to_get_them(judged):
    assert not (judged / "reports" / "surrogates.json").exists()
    page = Page((judged / "reports" / "index.html").read_bytes())
    text = page.all("section", id="surrogates")[0]["text"]
    assert "surrogate_depth: 4" in text


def test_without_scikit_learn_an_evaluation_with_trees_is_refused_at_the_start(
    explained, monkeypatch
):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    with pytest.raises(BadInput) as caught:
        evaluate.run(explained)
    assert_explains(caught.value, "scikit-learn", "`evaluation.surrogate_depth`", "pip install")


def test_a_damaged_file_is_refused_by_its_place(explained, tmp_path):
    root = shutil.copytree(explained, tmp_path / "damaged")
    path = root / "reports" / "surrogates.json"
    content = json.loads(path.read_text())
    content["models"]["student"]["fidelity"] = "high"
    path.write_text(json.dumps(content))
    files.seal(root / "reports", nested=True)
    with pytest.raises(BadInput) as caught:
        report.run(root)
    assert_explains(caught.value, "models.student.fidelity", "espalier evaluate")

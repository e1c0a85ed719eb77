"""Holm's correction: a worse candidate passes no more often among many than alone, and good ones still pass."""

import importlib.util
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.judging import LEVEL, drop_bounds, holm, judgement
from espalier.prediction import task_named

DRAWS = 1200
P_VALUES = st.lists(st.floats(1e-6, 0.2), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def simulation(project_root):
    path = project_root / "benchmarks" / "simulate_candidates.py"
    spec = importlib.util.spec_from_file_location("simulate_candidates", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rejected(p_values, error):
    """Holm's procedure as he states it: the sorted p-values, the i-th at error / (m - i + 1), until one is larger."""
    chosen = set()
    for rank, name in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[name] > error / (len(p_values) - rank):
            break
        chosen.add(name)
    return chosen


@given(P_VALUES)
def test_with_bounds_it_rejects_what_it_rejects_with_p_values(p_values):
    error = (1 - LEVEL) / 2

    def passes(name, level):
        return p_values[name] <= (1 - level) / 2

    decided = holm(range(len(p_values)), passes)
    passed = {name for name, level in decided.items() if passes(name, level)}
    exact = rejected(p_values, error)
    near = {round(error / p, 6) for p in p_values} & set(range(1, 9))
    assert passed == exact or near  # at a tie the rounding of a level decides
    assert all(level >= LEVEL - 1e-12 for level in decided.values())


def test_a_candidate_that_fails_at_a_lower_level_has_not_passed_at_a_higher_one():
    """Betting bounds need not shrink with the level."""
    decided = holm(["odd", "other"], lambda name, level: name == "odd" and level > 0.96)
    assert decided == dict.fromkeys(("odd", "other"), pytest.approx(0.975))
    assert holm([], lambda *_: True) == {}


def test_a_worse_model_among_ten_is_promoted_no_more_often_than_alone(simulation):
    """Ten candidates whose true drop is the margin: any that passes is a worse model that may be promoted."""
    rates = simulation.rates_of(simulation.Case(worse=10), DRAWS)
    error = 3 * (0.025 * 0.975 / DRAWS) ** 0.5
    assert rates["holm"]["worse"] <= 0.025 + error
    assert rates["none"]["worse"] > 0.15


def test_good_candidates_that_pass_make_room_for_others(simulation):
    """The step-down rule passes more than equal parts of the error (Bonferroni), with the same promise."""
    rates = simulation.rates_of(simulation.Case(worse=2, good=8), 600)
    assert rates["holm"]["good"] > rates["bonferroni"]["good"] + 0.03
    assert rates["holm"]["worse"] <= 0.025 + 3 * (0.025 * 0.975 / 600) ** 0.5


def test_the_page_has_the_committed_simulation(simulation, project_root):
    assert simulation.table() in (project_root / "docs" / "judging.md").read_text()
    results = project_root / "benchmarks" / "results"
    record = json.loads((results / "simulate_candidates.json").read_text())
    allowed = 0.025 + 3 * record["standard_error"]
    assert all(row["rates"]["holm"]["worse"] <= allowed for row in record["rows"])


HEADS = [
    {"name": "colour", "task": "classification", "classes": ["red", "blue", "green"]},
    {"name": "price", "task": "regression", "classes": ["price"], "facts": {"tolerance": 0.5}},
]
QUESTIONS = {
    "classification": (task_named("classification", {}), 3),
    "multilabel": (task_named("multilabel", {}), 3),
    "heads": (task_named("heads", {"heads": HEADS}), 4),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_bounds_of_gates_are_those_of_the_table_and_wider_at_a_higher_level(name):
    task, width = QUESTIONS[name]
    random = np.random.default_rng(0)
    reference = random.normal(size=(300, width))
    outputs = reference + 0.5 * random.normal(size=(300, width))
    targets = {
        "classification": random.integers(0, 3, 300),
        "multilabel": (random.random((300, 3)) < 0.4).astype(float),
        "heads": np.stack([random.integers(0, 3, 300), random.normal(size=300)], axis=1),
    }[name]
    classes = ("red", "blue", "green")
    figures, _ = judgement(task, targets, outputs, reference, classes)
    usual = drop_bounds(task, targets, outputs, reference, classes)
    assert usual.drop == figures["drop_high"]
    assert usual.worst_class_drop == figures["worst_class_drop_high"]
    assert usual.head_drops == {
        key.removesuffix(".drop_high"): value
        for key, value in figures.items()
        if key.endswith(".drop_high")
    }
    wider = drop_bounds(task, targets, outputs, reference, classes, 0.995)
    assert wider.drop > usual.drop
    assert wider.worst_class_drop > usual.worst_class_drop
    assert all(wider.head_drops[head] > bound for head, bound in usual.head_drops.items())

"""Calibration, classes, the front, noise, and all of it together."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from espalier.errors import BadInput
from espalier.judging import (
    Question,
    compare,
    drop_bounds,
    drop_interval,
    expected_calibration_error,
    front,
    group_drops,
    judgement,
    mean_score,
    ratio,
    worst,
)
from espalier.prediction import CLASSIFICATION, Concepts, Heads, Multilabel, answers

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture
def drawn():
    """Labels of classes of very different sizes, and the logits of a good teacher and of a worse model."""
    rng = np.random.default_rng(1)
    labels = rng.choice(6, 400, p=[0.5, 0.25, 0.15, 0.05, 0.05, 0])
    truth = np.eye(6)[labels]
    teacher = 4 * truth + rng.standard_normal((400, 6))
    return labels, teacher + rng.standard_normal((400, 6)), teacher


def right(labels, logits):
    """The scores of logits."""
    return (answers(logits) == labels).astype(float)


def by_class(labels):
    return CLASSIFICATION.groups(labels, CLASSES)


def judged(labels, logits, teacher, classes=CLASSES):
    return judgement(CLASSIFICATION, labels, logits, teacher, classes)


def sure(confidence: np.ndarray) -> np.ndarray:
    """Logits of two classes whose first has this probability."""
    return np.stack([np.log(confidence / (1 - confidence)), np.zeros_like(confidence)], axis=1)


def test_the_calibration_error_is_that_of_the_formula(drawn):
    """Guo et al. (2017), eq. 3: the sum over bins of |B| / n |acc(B) - conf(B)|."""
    labels, logits, _ = drawn
    confidence = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).max(1)
    right = logits.argmax(1) == labels
    error = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(labels, logits) == pytest.approx(error, abs=1e-9)


def test_a_model_that_is_as_often_right_as_it_is_sure_has_no_error():
    logits = sure(np.full(1000, 0.8))
    assert expected_calibration_error(
        (np.arange(1000) >= 800).astype(int), logits
    ) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(np.zeros(1000, int), logits) == pytest.approx(0.2)
    assert expected_calibration_error(
        np.ones(1000, int), sure(np.full(1000, 1 - 1e-12))
    ) == pytest.approx(1)


def test_without_finite_logits_there_is_no_confidence():
    logits = sure(np.full(10, 0.8))
    logits[3, 1] = np.nan
    assert math.isnan(expected_calibration_error(np.zeros(10, int), logits))


def test_each_class_is_judged_by_its_own_examples_at_a_level_that_holds_for_all(drawn):
    labels, logits, teacher = drawn
    drops = group_drops(by_class(labels), right(labels, logits), right(labels, teacher))
    assert list(drops["class"]) == list(CLASSES[:5])  # a fox has no examples
    for number, row in drops.iterrows():
        mine = labels == number
        alone = compare(
            right(labels, logits)[mine], right(labels, teacher)[mine], level=0.95 ** (1 / 5)
        )
        assert (row["examples"], row["lost"], row["gained"]) == (
            mine.sum(),
            alone.lost,
            alone.gained,
        )
        assert row["score"] == mean_score(right(labels, logits)[mine]).value
        assert (row["drop"], row["drop_low"], row["drop_high"]) == pytest.approx(
            alone.drop, abs=1e-9
        )


def test_the_worst_class_is_the_one_that_lost_most(drawn):
    labels, _, _ = drawn
    all_right = np.ones(len(labels))
    drops = group_drops(by_class(labels), (labels != 3).astype(float), all_right)
    assert worst(drops)["class"] == "dog"
    assert worst(drops)["drop"] == 1
    # none lost any: the smallest may have lost most
    rare = group_drops(by_class(labels), all_right, all_right)
    assert worst(rare)["examples"] == rare["examples"].min()


@given(
    arrays(
        float,
        st.tuples(st.integers(1, 12), st.just(3)),
        elements=st.sampled_from([0.0, 1.0, 2.0, math.nan]),
    )
)
def test_on_the_front_are_those_that_no_other_beats(figures):
    known = [row for row in figures if not np.isnan(row).any()]
    for row, on in zip(figures, front(figures), strict=True):
        beaten = any((other <= row).all() and (other < row).any() for other in known)
        assert on == (not np.isnan(row).any() and not beaten)


def test_the_front_of_models_without_a_figure_is_empty_and_equals_share_it():
    assert front(np.array([[math.nan, 1, 1]])).tolist() == [False]
    assert front(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])).tolist() == [
        True,
        True,
        True,
        False,
    ]


def test_a_ratio_is_of_what_is_timed_in_one_round_and_an_outlier_moves_nothing():
    slow = np.array([[2.0, 20.0, 2.0, 500.0, 2.0]] * 4)
    assert ratio(slow / 2, slow, between=0) == pytest.approx((2, 2, 2))
    assert ratio(slow / 2, slow) == pytest.approx((2, 2 / np.exp(0.05), 2 * np.exp(0.05)))
    slow[2, 1] = 1e9
    assert ratio(np.ones_like(slow), slow).value == pytest.approx(2)


def test_a_single_sitting_says_nothing_about_noise():
    assert ratio(np.ones((1, 5)), 3 * np.ones((1, 5))) == pytest.approx((3, 0, math.inf))


def test_sittings_that_a_neighbour_spoiled_move_a_ratio_by_less_than_its_band():
    rng = np.random.default_rng(3)
    theirs = np.exp(0.02 * rng.standard_normal((20, 3)))
    spoiled = theirs.copy()
    spoiled[[2, 9, 11]] *= 1.6
    clean, found = (
        ratio(np.full_like(theirs, 0.5), theirs),
        ratio(np.full_like(theirs, 0.5), spoiled),
    )
    assert found.value == pytest.approx(clean.value, rel=0.01)
    assert np.log(found.high / found.value) < 0.1


@pytest.mark.parametrize("sittings", [3, 10, 20])
def test_another_evaluation_lies_within_the_band_as_often_as_it_says(sittings):
    """Each sitting has a speed of its own, and each round some noise."""
    rng = np.random.default_rng(2)

    def evaluated():
        speed = 3 * np.exp(0.1 * rng.standard_normal((sittings, 1)))
        theirs = np.exp(0.05 * rng.standard_normal((sittings, 6)))
        return ratio(
            theirs / speed * np.exp(0.02 * rng.standard_normal((sittings, 6))), theirs, between=0
        )

    pairs = [(evaluated(), evaluated()) for _ in range(1000)]
    held = np.mean([first.low <= second.value <= first.high for first, second in pairs])
    assert abs(held - 0.95) < 0.02  # 3 standard errors


def test_the_judgement_says_the_same_as_its_parts(drawn):
    labels, logits, teacher = drawn
    figures, drops = judged(labels, logits, teacher, CLASSES)
    beside = compare(right(labels, logits), right(labels, teacher))
    assert (figures["drop"], figures["drop_low"], figures["drop_high"]) == beside.drop
    assert (figures["forgotten"], figures["agreement"], figures["drop_p"]) == (
        beside.lost,
        (answers(logits) == answers(teacher)).mean(),
        beside.p,
    )
    assert (figures["examples"], figures["not_finite"]) == (400, 0)
    assert figures["worst_class"] == worst(drops)["class"]
    assert figures["worst_class_drop"] == drops["drop"].max()
    assert figures["worst_class_drop_high"] == 1  # there is no fox
    assert (
        0
        < figures["drop_low"]
        < figures["drop"]
        < figures["drop_high"]
        < figures["worst_class_drop_high"]
    )


def test_the_teacher_has_lost_nothing_and_needs_no_interval_for_that(drawn):
    labels, _, teacher = drawn
    figures, drops = judged(labels, teacher, None, CLASSES)
    zeros = (
        "drop",
        "drop_low",
        "drop_high",
        "forgotten",
        "worst_class_drop",
        "worst_class_drop_high",
    )
    assert {figures[name] for name in zeros} == {0}
    assert (figures["agreement"], figures["drop_p"], figures["worst_class"]) == (1, 1, "")
    assert not drops[["drop", "drop_low", "drop_high"]].to_numpy().any()


def test_a_model_that_gives_no_numbers_is_wrong_everywhere_and_says_so(drawn):
    labels, logits, teacher = drawn
    figures, _ = judged(labels, np.full_like(logits, np.nan), teacher, CLASSES)
    assert (figures["accuracy"], figures["agreement"], figures["not_finite"], figures["top5"]) == (
        0,
        0,
        400,
        0,
    )
    assert math.isnan(figures["ece"])
    assert figures["drop_low"] == pytest.approx(
        float(drop_interval(figures["forgotten"], 0, 400)[0])
    )


def test_top_five_of_five_classes_is_not_given(drawn):
    labels, logits, teacher = drawn
    assert math.isnan(judged(labels, logits[:, :5], teacher[:, :5], CLASSES[:5])[0]["top5"])
    assert judged(labels, logits, teacher, CLASSES)[0]["top5"] > 0.9


def test_one_head_is_judged_as_its_task_alone(drawn):
    labels, logits, teacher = drawn
    heads = Heads([{"name": "insect", "task": "classification", "classes": CLASSES}])
    alone, groups = judged(labels, logits, teacher)
    targets = labels[:, None].astype(np.float32)
    found, found_groups = judgement(heads, targets, logits, teacher, CLASSES)
    for name, value in alone.items():
        if name.startswith("accuracy"):
            assert found[name.replace("accuracy", "mean_score")] == value
        elif name not in ("worst_class", "top5", "ece"):
            assert found[name] == value
        if f"insect.{name}" in found:
            assert found[f"insect.{name}"] == value
    assert {"insect.accuracy_low", "insect.drop_high", "insect.ece"} <= set(found)
    assert found["worst_class"] == f"insect: {alone['worst_class']}"
    groups = groups.rename(columns={"accuracy": "mean_score"})
    assert found_groups.drop(columns="class").equals(groups.drop(columns="class"))


def test_two_heads_have_the_mean_of_the_scores_and_wider_intervals_of_their_groups(drawn):
    """By Bonferroni's inequality: the groups of either head have half of the error."""
    labels, logits, teacher = drawn
    facts = {"task": "classification", "classes": CLASSES}
    heads = Heads([{"name": "good", **facts}, {"name": "bad", **facts}])
    targets = np.stack([labels, labels], 1).astype(np.float32)
    outputs = np.concatenate([teacher, logits], 1)
    found, groups = judgement(heads, targets, outputs, np.concatenate([teacher, teacher], 1), ())
    alone, own = judged(labels, logits, teacher)
    assert found["good.drop"] == 0
    assert found["bad.drop"] == alone["drop"]
    assert found["mean_score"] == pytest.approx(found["good.accuracy"] / 2 + alone["accuracy"] / 2)
    assert found["drop"] == pytest.approx(alone["drop"] / 2)
    assert found["drop_low"] <= found["drop"] <= found["drop_high"]
    bad = groups[groups["class"].str.startswith("bad: ")]
    assert bad["drop"].to_numpy() == pytest.approx(own["drop"].to_numpy())
    assert (bad["drop_high"].to_numpy() > own["drop_high"].to_numpy()).all()
    assert (bad["drop_high"].to_numpy() < own["drop_high"].to_numpy() + 0.1).all()


@pytest.mark.parametrize("kind", [np.uint8, bool, list])
def test_scores_of_any_type_are_compared_as_numbers(kind):
    """The difference of unsigned ones would wrap around, and hide every loss."""
    rng = np.random.default_rng(0)
    reference = rng.random(1000) < 0.9
    scores = reference & (rng.random(1000) < 0.88)
    wanted = compare(scores.astype(float), reference.astype(float))
    convert = list if kind is list else lambda values: values.astype(kind)
    assert wanted.lost > 80
    assert compare(convert(scores), convert(reference)) == wanted


def test_scores_outside_of_their_range_are_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        compare(np.array([0.5, 2.0]), np.array([1.0, 1.0]))


def test_where_no_group_has_an_example_all_are_one():
    """Label sets of a test split without any label."""
    random = np.random.default_rng(0)
    outputs, reference = random.normal(size=(2, 40, 3))
    figures, rows = judgement(Multilabel(), np.zeros((40, 3), np.uint8), outputs, reference, "xyz")
    assert list(rows["class"]) == ["all examples"]
    assert figures["worst_class_drop"] == pytest.approx(figures["drop"])
    assert figures["worst_class_drop_high"] == pytest.approx(figures["drop_high"])


@pytest.mark.parametrize("task", [CLASSIFICATION, Multilabel()], ids=["labels", "sets of labels"])
def test_nothing_bounds_the_drop_of_a_class_without_test_examples(task):
    random = np.random.default_rng(0)
    outputs = random.normal(size=(40, 3))
    labels = np.arange(40) % 2  # never the third class
    targets = labels if task.disjoint else np.eye(3, dtype=np.uint8)[labels]
    figures, rows = judgement(task, targets, outputs, outputs, "xyz")
    assert list(rows["class"]) == ["x", "y"]
    assert figures["worst_class_drop_high"] == 1
    assert drop_bounds(task, targets, outputs, outputs, "xyz").worst_class_drop == 1
    targets[:3] = [0, 1, 2] if task.disjoint else np.eye(3)
    assert judgement(task, targets, outputs, outputs, "xyz")[0]["worst_class_drop_high"] < 1


def test_a_model_without_test_examples_is_refused():
    concepts = Concepts.of({"even": ["0", "2"], "odd": ["1", "3"]}, "01234")
    dataset = SimpleNamespace(classes=tuple("01234"), concepts=lambda given: concepts)
    with pytest.raises(BadInput, match=r"found none: a larger `data\.test` has some"):
        Question.of({}, dataset, torch.full((20,), 4))

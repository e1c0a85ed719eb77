"""From logits to answers, and what is counted of them."""

import numpy as np
import pytest

from espalier.judging import forgotten, mean_score, top
from espalier.prediction import NO_ANSWER, answers


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return rng.integers(0, 7, 300), rng.standard_normal((300, 7))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_no_answer_and_never_right(drawn, bad):
    labels, logits = drawn
    logits[:, 0] = 9.0
    logits[5, 0] = bad
    logits[6, 3] = bad
    predicted = answers(logits)
    assert predicted.tolist() == [0] * 5 + [NO_ANSWER] * 2 + [0] * 293
    zeros = np.zeros_like(labels)
    assert mean_score((predicted == zeros).astype(float)).value == 298 / 300
    assert top(zeros, logits, 6) <= 298 / 300


def test_the_wilson_interval_is_the_published_one():
    """Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I."""
    for right, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = mean_score((np.arange(total) < right).astype(float))
        assert found.value == right / total
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_top_k_counts_labels_among_the_k_largest(drawn):
    labels, logits = drawn
    ranks = (-logits).argsort(1).argsort(1)[np.arange(300), labels]
    for k in (1, 3, 5, 6):
        assert top(labels, logits, k) == (ranks < k).mean()
    assert top(labels, logits, 1) == mean_score((answers(logits) == labels).astype(float)).value


def test_top_k_of_no_more_than_k_classes_is_refused(drawn):
    with pytest.raises(ValueError, match=r"more than 7 classes for a top-7 accuracy; found 7"):
        top(*drawn, 7)


def test_the_forgotten_are_those_that_only_the_reference_has_right():
    scores, reference = np.array([1.0, 0, 1, 0, 0]), np.array([1.0, 1, 0, 0, 1])
    assert forgotten(scores, reference).tolist() == [1, 4]


def test_of_graded_scores_an_example_is_forgotten_that_lost_at_least_one_half():
    scores, reference = np.array([0.25, 0.5, 0.6]), np.array([0.75, 0.9, 0.6])
    assert forgotten(scores, reference).tolist() == [0]

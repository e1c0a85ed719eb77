"""Concepts: sums and renormalised parts of a teacher's distribution, by the laws of probability."""

import numpy as np
import pytest
import torch
from properties import assert_explains

from espalier.errors import BadInput
from espalier.prediction import NO_ANSWER, Classification, Concepts

CLASSES = ("car", "cat", "dog", "bus")
LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3


def concepts(**given):
    return Concepts.of(given, CLASSES)


def test_no_classes_are_all_classes():
    assert Concepts.of(None, CLASSES) is None


def test_single_classes_keep_their_logits_bit_for_bit():
    """So that the restricted distribution is the teacher's, divided by its sum over these classes."""
    found = concepts(dog=("dog",), car=("car",)).logits(LOGITS)
    assert torch.equal(found, LOGITS[:, [2, 0]])
    whole = LOGITS.softmax(1)[:, [2, 0]]
    torch.testing.assert_close(found.softmax(1), whole / whole.sum(1, keepdim=True))


def test_the_probability_of_a_concept_is_the_sum_of_those_of_its_classes():
    split = concepts(animal=("cat", "dog"), vehicle=("car", "bus"))
    found, each = split.logits(LOGITS).softmax(1), LOGITS.softmax(1)
    torch.testing.assert_close(found[:, 0], each[:, 1] + each[:, 2])
    torch.testing.assert_close(found.sum(1), torch.ones(6))
    assert np.array_equal(split.outputs(LOGITS.numpy()), split.logits(LOGITS).numpy())


def test_a_shift_of_all_logits_shifts_those_of_the_concepts():
    split = concepts(animal=("cat", "dog"), car=("car",))
    torch.testing.assert_close(split.logits(LOGITS + 100), split.logits(LOGITS) + 100)


def test_an_output_that_is_not_finite_is_no_answer():
    split, logits = concepts(animal=("cat", "dog"), car=("car",)), LOGITS.clone().numpy()
    logits[0, 1], logits[1, 0] = np.nan, np.inf
    answers = Classification().answers(split.outputs(logits))
    assert (answers[:2] == NO_ANSWER).all()
    assert (answers[2:] != NO_ANSWER).all()


def test_examples_of_other_classes_are_left_out_and_the_rest_keep_their_order():
    labels = torch.tensor([3, 1, 0, 2, 3, 1])
    index, targets = concepts(dog=("dog",), feline=("cat",)).targets(labels)
    assert (index.tolist(), targets.tolist()) == ([1, 3, 5], [1, 0, 1])


def test_the_rest_is_every_other_class_unless_the_data_have_a_class_of_that_name():
    found = concepts(other=("rest",), animal=("cat", "dog"))
    assert found.labels == ((0, 3), (1, 2))
    assert found.as_json() == {"other": ["car", "bus"], "animal": ["cat", "dog"]}
    assert found.describe() == "other (car, bus), animal (cat, dog)"
    named = Concepts.of({"other": ("rest",), "cat": ("cat",)}, (*CLASSES, "rest"))
    assert named.labels == ((4,), (1,))


def test_an_unknown_class_is_refused_with_the_nearest_and_an_empty_rest_too():
    with pytest.raises(BadInput) as caught:
        concepts(a=("cat",), b=("dogs",))
    assert_explains(caught.value, "'dogs'", "'dog'", "car, cat, dog, bus")
    with pytest.raises(BadInput) as caught:
        concepts(all=CLASSES, other=("rest",))
    assert_explains(caught.value, "'other'")

"""The losses against numbers that their authors' code, or the field's library, computed from the same inputs.

In double precision, with: mdistiller (Zhao et al., e8c5bb3) for soft targets, decoupled, attention, similarity and
relational; DIST_KD (Huang et al., 6d93ca0); logit-standardization-KD (Sun et al., 6083e2d);
BalancedKnowledgeDistillation (Zhang et al., 160e545); CA-MKD's formula of the teachers' shares.
"""

import math

import pytest
import torch

from espalier.distillation import losses
from espalier.distillation.modifiers import confidence

ROW, COLUMN = (
    torch.arange(5.0, dtype=torch.float64)[:, None],
    torch.arange(7.0, dtype=torch.float64),
)
STUDENT = 3 * torch.sin(1.3 * ROW + 2.1 * COLUMN + 0.5)
TEACHER = 4 * torch.cos(0.7 * ROW - 1.9 * COLUMN + 0.2)
LABELS = torch.tensor([0, 3, 6, 2, 2])


def test_soft_targets():
    found = losses.soft_targets(STUDENT, TEACHER, temperature=4.0)
    assert found.item() == pytest.approx(5.012289628217591, rel=1e-9)


def test_decoupled():
    found = losses.decoupled(STUDENT, TEACHER, labels=LABELS, alpha=1.0, beta=8.0, temperature=4.0)
    assert found.item() == pytest.approx(39.37021949643473, rel=1e-9)


@pytest.mark.parametrize(
    ("keys", "expected"), [((1, 1, 1), 2.2050677498376983), ((4, 2, 3), 70.49643851876391)]
)
def test_dist(keys, expected):
    found = losses.dist(STUDENT, TEACHER, temperature=keys[0], beta=keys[1], gamma=keys[2])
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_standardised_but_for_the_deviation_that_the_authors_code_takes_over_one_class_less():
    higher = 2 * math.sqrt(7 / 6)
    found = losses.standardised(STUDENT, TEACHER, temperature=higher) * (2 / higher) ** 2
    assert found.item() == pytest.approx(0.7153374347225625, rel=1e-6)


def test_soft_targets_with_class_weights():
    weights = torch.tensor([1, 2, 0.5, 3, 1, 0.2, 4], dtype=torch.float64)
    found = losses.soft_targets(STUDENT, TEACHER, temperature=2.0, class_weights=weights)
    assert found.item() == pytest.approx(4.177225584064377, rel=1e-9)


def test_shares_of_teachers():
    found = confidence(torch.stack([TEACHER, STUDENT, TEACHER.flip(1)]), LABELS)
    expected = [
        0.48142628305026036,
        0.2585793361342761,
        0.016701053319831294,
        0.08206246481967588,
        0.492007190683156,
    ]
    assert found[0].tolist() == pytest.approx(expected, rel=1e-5)


def features(function, channels, *steps):
    place = torch.zeros(5, channels, 4, 4, dtype=torch.float64)
    for axis, step in enumerate(steps):
        numbers = torch.arange(place.shape[axis], dtype=torch.float64)
        place += step * numbers.view([-1 if other == axis else 1 for other in range(4)])
    return function(place)


STUDENTS = features(torch.sin, 3, 1.1, 0.7, 0.5, -0.3)
TEACHERS = features(torch.cos, 6, 0.9, -0.4, 0.8, 0.6)


def test_attention():
    assert losses.attention(STUDENTS, TEACHERS).item() == pytest.approx(
        0.0069969165134105196, rel=1e-9
    )


def test_similarity():
    assert losses.similarity(STUDENTS, TEACHERS).item() == pytest.approx(
        0.02200157556810031, rel=1e-9
    )


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((25, 50), 5.473482147384514), ((1, 0), 0.04978728217603267), ((0, 1), 0.08457600185967394)],
)
def test_relational(weights, expected):
    found = losses.relational(STUDENT, TEACHER, distance=weights[0], angle=weights[1])
    assert found.item() == pytest.approx(expected, rel=1e-6)

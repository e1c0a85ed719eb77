"""The losses against the formulas of their papers, written out with loops in double precision."""

import math

import numpy as np
import pytest
import torch

from espalier.distillation import losses
from espalier.distillation.losses.dist import correlation
from espalier.distillation.modifiers import balanced, confidence, focal, subset

N, CLASSES = 6, 8


def random(seed, *shape, spread=2.0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread


STUDENT, TEACHER = random(0, N, CLASSES), random(1, N, CLASSES)
LABELS = [3, 0, 7, 7, 2, 5]


def softmax(row, temperature=1.0):
    exponentials = [math.exp(value / temperature) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def rows(tensor):
    return [[float(value) for value in row] for row in tensor.double()]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def pearson(u, v):
    """The covariance over the product of the deviations."""
    mu, mv = mean(u), mean(v)
    covariance = sum((a - mu) * (b - mv) for a, b in zip(u, v, strict=True))
    return covariance / math.sqrt(sum((a - mu) ** 2 for a in u) * sum((b - mv) ** 2 for b in v))


def check(found, expected):
    """To 1e-6 in single precision, as the catalogue promises."""
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets(temperature):
    each = [
        divergence(softmax(t, temperature), softmax(s, temperature))
        for s, t in zip(rows(STUDENT), rows(TEACHER), strict=True)
    ]
    check(
        losses.soft_targets(STUDENT, TEACHER, temperature=temperature), temperature**2 * mean(each)
    )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_reverse(temperature):
    each = [
        divergence(softmax(s, temperature), softmax(t, temperature))
        for s, t in zip(rows(STUDENT), rows(TEACHER), strict=True)
    ]
    found = losses.reverse(STUDENT, TEACHER, temperature=temperature)
    check(found, temperature**2 * mean(each))


def test_soft_targets_with_class_weights_are_those_of_a_teacher_that_was_weighed_and_normalised_again():
    weights = [0.5, 1, 2, 4, 1, 1, 3, 0.25]
    each = []
    for s, t in zip(rows(STUDENT), rows(TEACHER), strict=True):
        raw = [w * p for w, p in zip(weights, softmax(t, 2.0), strict=True)]
        each.append(divergence([value / sum(raw) for value in raw], softmax(s, 2.0)))
    found = losses.soft_targets(
        STUDENT, TEACHER, temperature=2.0, class_weights=torch.tensor(weights)
    )
    check(found, 4 * mean(each))


def test_labels_of_the_teacher():
    each = [
        -math.log(softmax(s)[int(np.argmax(t))])
        for s, t in zip(rows(STUDENT), rows(TEACHER), strict=True)
    ]
    check(losses.teacher_labels(STUDENT, TEACHER), mean(each))


def test_squared_error():
    each = [
        sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / 2
        for s, t in zip(rows(STUDENT), rows(TEACHER), strict=True)
    ]
    check(losses.squared_error(STUDENT, TEACHER), mean(each))


def test_standardised():
    def z(row):
        deviation = math.sqrt(mean((value - mean(row)) ** 2 for value in row))
        return [(value - mean(row)) / deviation for value in row]

    each = [
        divergence(softmax(z(t), 2.0), softmax(z(s), 2.0))
        for s, t in zip(rows(STUDENT), rows(TEACHER), strict=True)
    ]
    check(losses.standardised(STUDENT, TEACHER, temperature=2.0), 4 * mean(each))


@pytest.mark.parametrize(("alpha", "beta", "temperature"), [(1.0, 8.0, 4.0), (2.0, 0.5, 1.0)])
def test_decoupled(alpha, beta, temperature):
    each = []
    for s, t, label in zip(rows(STUDENT), rows(TEACHER), LABELS, strict=True):
        p, q = softmax(t, temperature), softmax(s, temperature)
        target = divergence([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        p, q = (
            [value / (1 - row[label]) for number, value in enumerate(row) if number != label]
            for row in (p, q)
        )
        each.append(alpha * target + beta * divergence(p, q))
    keys = {"alpha": alpha, "beta": beta, "temperature": temperature}
    found = losses.decoupled(STUDENT, TEACHER, labels=torch.tensor(LABELS), **keys)
    check(found, temperature**2 * mean(each))


def test_decoupled_is_soft_targets_where_beta_is_what_the_teacher_leaves_to_the_rest():
    """How DKD takes it apart: KD = TCKD + (1 - p_label) NCKD, here for one example."""
    student, teacher = STUDENT[:1].double(), TEACHER[:1].double()
    rest = 1 - (teacher / 2).softmax(1)[0, 3].item()
    found = losses.decoupled(
        student, teacher, labels=torch.tensor([3]), alpha=1.0, beta=rest, temperature=2.0
    )
    torch.testing.assert_close(found, losses.soft_targets(student, teacher, temperature=2.0))


def test_dist():
    p, q = ([softmax(row, 1.5) for row in rows(tensor)] for tensor in (TEACHER, STUDENT))
    inter = mean(1 - pearson(u, v) for u, v in zip(q, p, strict=True))
    intra = mean(
        1 - pearson(u, v)
        for u, v in zip(np.array(q).T.tolist(), np.array(p).T.tolist(), strict=True)
    )
    check(
        losses.dist(STUDENT, TEACHER, temperature=1.5, beta=2.0, gamma=0.5),
        2.25 * (2 * inter + 0.5 * intra),
    )


def test_the_correlation_of_dist_ignores_scale_and_shift_of_each_row():
    """Its paper's reason for it: d(m1 u + n1, m2 v + n2) = d(u, v) for positive m1 m2."""
    one, other = STUDENT.double(), TEACHER.double()
    scale, shift = torch.rand(N, 1).double() + 0.5, torch.randn(N, 1).double()
    torch.testing.assert_close(
        correlation(one * scale + shift, 3 * other - 7), correlation(one, other)
    )


def test_weights_of_examples_in_the_correlation_are_as_many_examples():
    one, other = STUDENT.double(), TEACHER.double()
    again = (
        torch.cat([one, one[:, :1], one[:, :1]], 1),
        torch.cat([other, other[:, :1], other[:, :1]], 1),
    )
    weights = torch.ones(CLASSES, dtype=torch.float64)
    weights[0] = 3
    torch.testing.assert_close(correlation(one, other, weights), correlation(*again))


def test_focal_weights_are_those_of_the_paper_over_their_mean():
    raw = [(1 - softmax(row)[label]) ** 2 for row, label in zip(rows(STUDENT), LABELS, strict=True)]
    found = focal(STUDENT, torch.tensor(LABELS), gamma=2.0)
    assert found.tolist() == pytest.approx([value / mean(raw) for value in raw], rel=1e-5)
    assert focal(STUDENT, torch.tensor(LABELS), gamma=0.0).tolist() == [1.0] * N
    sure = torch.nn.functional.one_hot(torch.tensor(LABELS), CLASSES) * 1e4
    assert focal(sure.float(), torch.tensor(LABELS)).isfinite().all()


def test_shares_of_teachers_are_those_of_the_paper():
    teachers = [rows(random(seed, N, CLASSES)) for seed in (4, 5, 6)]
    found = confidence(torch.tensor(teachers), torch.tensor(LABELS))
    for example, label in enumerate(LABELS):
        errors = [-math.log(softmax(teacher[example])[label]) for teacher in teachers]
        expected = [(1 - share) / 2 for share in softmax(errors)]
        assert found[:, example].tolist() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(found.sum(0), torch.ones(N))
    assert torch.equal(confidence(TEACHER[None], torch.tensor(LABELS)), torch.ones(1, N))


def test_balanced_weights_let_all_classes_count_the_same():
    counts = torch.tensor([10, 1, 100, 0])
    weights = balanced(counts)
    sums = (weights * counts)[:3]
    torch.testing.assert_close(sums, sums[:1].expand(3))
    assert (weights * counts).sum() / counts.sum() == pytest.approx(
        3 / 4
    )  # one class of four has no example
    torch.testing.assert_close(balanced(torch.tensor([5, 5])), torch.ones(2))


def test_soft_targets_of_a_subset_are_those_of_the_renormalised_distributions():
    classes = [6, 1, 2]
    each = []
    for s, t in zip(rows(STUDENT), rows(TEACHER), strict=True):
        p, q = ([softmax(row, 2.0)[number] for number in classes] for row in (t, s))
        each.append(divergence([value / sum(p) for value in p], [value / sum(q) for value in q]))
    check(losses.soft_targets(*subset(STUDENT, TEACHER, classes), temperature=2.0), 4 * mean(each))
    small = STUDENT[:, classes]  # a student that has no other classes
    check(losses.soft_targets(*subset(small, TEACHER, classes), temperature=2.0), 4 * mean(each))

"""Properties of every loss over features, over the table of cases, and the formulas of their papers."""

import math

import pytest
import torch
from cases import LOSSES
from properties import assert_right_in_every_precision

from espalier.distillation import losses
from espalier.distillation.losses import FEATURES
from espalier.distillation.losses.sizes import same_size

CASES = pytest.mark.parametrize(
    "case", [case for case in LOSSES if case.over == "features"], ids=str
)


def maps(seed, channels=5, size=4, count=6):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def compute(case, student, teacher):
    return FEATURES[case.keys["loss"]](student, teacher)


@CASES
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_it_and_its_gradient_are_finite_and_right_in_every_precision(case, dtype):
    def loss(student, teacher):
        return compute(case, student, teacher)

    assert_right_in_every_precision(loss, maps(0).to(dtype), maps(1).to(dtype), atol=1e-7)


@CASES
def test_autocast_does_not_make_it_compute_in_half_precision(case):
    student, teacher = maps(0), maps(1)
    expected = compute(case, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compute(case, student, teacher), expected)


@CASES
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_layers_that_say_nothing_leave_it_finite(case, value):
    """Dead channels, and examples that are all the same."""
    student = torch.full((6, 5, 4, 4), value).requires_grad_()
    for teacher in (maps(1), torch.full((6, 5, 4, 4), value)):
        student.grad = None
        loss = compute(case, student, teacher)
        loss.backward()
        assert loss.isfinite()
        assert student.grad.isfinite().all()


@CASES
def test_nothing_is_left_to_learn_from_a_teacher_that_is_the_student(case):
    teacher = maps(1).double()
    student = teacher.clone().requires_grad_()
    loss = compute(case, student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-9
    assert compute(case, teacher + 0.1 * maps(2).double(), teacher) > 1e-6


@CASES
def test_the_order_of_the_examples_does_not_matter(case):
    student, teacher = maps(0), maps(1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        compute(case, student[order], teacher[order]), compute(case, student, teacher)
    )


@CASES
def test_it_looks_away_from_what_its_paper_says_it_does(case):
    """A rotation of the channels keeps distances, angles and inner products of examples."""
    student, teacher = maps(0).double(), maps(1).double()
    loss = compute(case, student, teacher)
    rotation, _ = torch.linalg.qr(
        torch.randn(5, 5, generator=torch.Generator().manual_seed(3)).double()
    )
    changed = {
        "scale": student * 3,
        "order of channels": student[:, [3, 0, 4, 1, 2]],
        "signs": student * torch.tensor([1, -1, 1, -1, -1])[:, None, None],
        "rotation": torch.einsum("nchw,cd->ndhw", student, rotation),
        "shift": student + torch.arange(5.0)[:, None, None],
    }
    for name, other in changed.items():
        assert torch.isclose(compute(case, other, teacher), loss, rtol=1e-9) == (
            name in case.ignores
        ), name


@CASES
def test_the_student_may_have_other_sizes(case):
    """Other resolutions for all, and other numbers of channels where nothing adapts them."""
    channels = 5 if case.keys["loss"] in ("hints", "review") else 3
    for size in (4, 8, 6, 3):
        loss = compute(case, maps(0, channels, size), maps(1))
        assert loss.isfinite()
        assert loss > 0


def test_of_two_sizes_the_smaller_height_and_width_are_taken_and_the_rest_is_averaged():
    one, other = torch.arange(32.0).view(1, 1, 4, 8), torch.zeros(1, 2, 2, 16)
    small, flat = same_size(one, other)
    assert (small.shape, flat.shape) == ((1, 1, 2, 8), (1, 2, 2, 8))
    assert small[0, 0, 0].tolist() == [4.0 + place for place in range(8)]
    uneven, _ = same_size(torch.ones(1, 1, 7, 7), torch.zeros(1, 1, 4, 4))
    torch.testing.assert_close(uneven, torch.ones(1, 1, 4, 4))


def test_the_table_of_losses_has_a_row_in_the_table_of_cases():
    assert set(FEATURES) == {case.keys["loss"] for case in LOSSES if case.over == "features"}


# the formulas, with loops in double precision


def check(found, expected):
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def test_hints():
    student, teacher = maps(0), maps(1)
    pairs = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    check(losses.hints(student, teacher), mean((a - b) ** 2 for a, b in pairs))


def test_review():
    def shrink(channel, by):
        side = len(channel) // by
        return [
            [
                mean(channel[by * y + dy][by * x + dx] for dy in range(by) for dx in range(by))
                for x in range(side)
            ]
            for y in range(side)
        ]

    student, teacher = maps(0, size=8), maps(1, size=8)
    expected = 0.0
    for by, weight in ((1, 8 / 15), (2, 4 / 15), (4, 2 / 15), (8, 1 / 15)):
        ours, theirs = (
            [shrink(channel, by) for example in one.tolist() for channel in example]
            for one in (student, teacher)
        )
        rows = [
            (a - b) ** 2
            for s, t in zip(ours, theirs, strict=True)
            for row, other in zip(s, t, strict=True)
            for a, b in zip(row, other, strict=True)
        ]
        expected += weight * mean(rows)
    check(losses.review(student, teacher), expected)


def test_review_of_two_by_two_positions_has_two_levels():
    student = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
    assert losses.review(student, torch.zeros(1, 1, 2, 2)).item() == pytest.approx(0.75)


def test_attention():
    def attend(example):
        places = [mean(channel[place] ** 2 for channel in example) for place in range(16)]
        norm = math.sqrt(sum(value**2 for value in places))
        return [value / norm for value in places]

    student, teacher = (maps(seed).flatten(2).tolist() for seed in (0, 1))
    each = [
        (a - b) ** 2
        for s, t in zip(student, teacher, strict=True)
        for a, b in zip(attend(s), attend(t), strict=True)
    ]
    check(losses.attention(maps(0), maps(1)), mean(each))


def test_similarity():
    def likeness(examples):
        rows = [
            [sum(a * b for a, b in zip(one, other, strict=True)) for other in examples]
            for one in examples
        ]
        return [[value / math.sqrt(sum(v**2 for v in row)) for value in row] for row in rows]

    ours, theirs = (likeness(maps(seed).flatten(1).tolist()) for seed in (0, 1))
    total = sum(
        (a - b) ** 2 for s, t in zip(ours, theirs, strict=True) for a, b in zip(s, t, strict=True)
    )
    check(losses.similarity(maps(0), maps(1)), total / 36)


def test_relational():
    def huber(a, b):
        return (a - b) ** 2 / 2 if abs(a - b) < 1 else abs(a - b) - 0.5

    def norm(vector):
        return math.sqrt(sum(value**2 for value in vector))

    def distances(points):
        table = [[norm([a - b for a, b in zip(p, q, strict=True)]) for q in points] for p in points]
        average = sum(map(sum, table)) / (len(points) * (len(points) - 1))
        return [value / average for row in table for value in row]

    def cosines(points):
        def direction(start, end):
            vector = [b - a for a, b in zip(start, end, strict=True)]
            return [value / (norm(vector) or 1) for value in vector]

        return [
            sum(a * b for a, b in zip(direction(j, i), direction(j, k), strict=True))
            for j in points
            for i in points
            for k in points
        ]

    ours, theirs = maps(0)[..., 0, 0].tolist(), maps(1)[..., 0, 0].tolist()
    expected = 2 * mean(map(huber, distances(ours), distances(theirs)))
    expected += 3 * mean(map(huber, cosines(ours), cosines(theirs)))
    check(
        losses.relational(maps(0)[..., 0, 0], maps(1)[..., 0, 0], distance=2.0, angle=3.0), expected
    )


def test_relational_takes_the_mean_over_the_places_of_a_map():
    expected = losses.relational(maps(0).mean((2, 3)), maps(1).mean((2, 3)))
    torch.testing.assert_close(losses.relational(maps(0), maps(1)), expected)

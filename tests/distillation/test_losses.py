"""Properties of every loss, over the table of cases."""

import inspect

import pytest
import torch
from cases import LOSSES
from properties import assert_right_in_every_precision

from espalier.distillation.losses import LOGITS

SIZES = (16, 10)
LABELS = torch.randint(0, 10, (16,), generator=torch.Generator().manual_seed(5))
CASES = pytest.mark.parametrize("case", [case for case in LOSSES if case.over == "logits"], ids=str)


def logits(seed, spread=3.0):
    return torch.randn(SIZES, generator=torch.Generator().manual_seed(seed)) * spread


def compute(case, student, teacher, labels=LABELS, **more):
    loss = LOGITS[case.keys["loss"]]
    keys = {name: value for name, value in case.keys.items() if name != "loss"}
    if "labels" in inspect.signature(loss).parameters:
        keys["labels"] = labels
    return loss(student, teacher, **keys, **more)


@CASES
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_it_and_its_gradient_are_finite_and_right_in_every_precision(case, dtype):
    def loss(student, teacher):
        return compute(case, student, teacher)

    assert_right_in_every_precision(loss, logits(0).to(dtype), logits(1).to(dtype), atol=1e-6)


@CASES
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_extreme_logits_leave_it_finite(case, dtype):
    """Logits of a teacher that is very sure, and those of one that has no idea at all."""
    for student, teacher in (
        (logits(0) * 1e3, logits(1) * 1e3),
        (torch.zeros(SIZES), torch.zeros(SIZES)),
    ):
        student = student.to(dtype).requires_grad_()
        loss = compute(case, student, teacher.to(dtype))
        loss.backward()
        assert loss.isfinite()
        assert student.grad.float().isfinite().all()


@CASES
def test_nothing_is_left_to_learn_from_a_teacher_that_is_the_student(case):
    """The loss is nothing, or (against decisions) as small as any step makes it."""
    teacher = logits(1).double()
    student = teacher.clone().requires_grad_()
    loss = compute(case, student, teacher)
    (gradient,) = torch.autograd.grad(loss, student)
    if case.keys["loss"] == "teacher_labels":
        sure = compute(
            case, 1e3 * torch.nn.functional.one_hot(teacher.argmax(1), 10).double(), teacher
        )
        assert sure.item() == pytest.approx(0, abs=1e-12)
        return
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max() < 1e-6
    for seed in (2, 3, 4):
        assert compute(case, teacher + 0.1 * logits(seed).double(), teacher) > loss


@CASES
def test_the_order_of_the_examples_does_not_matter(case):
    student, teacher, weights = (
        logits(0),
        logits(1),
        torch.rand(16, generator=torch.Generator().manual_seed(7)),
    )
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    loss = compute(case, student, teacher, weights=weights)
    shuffled = compute(case, student[order], teacher[order], LABELS[order], weights=weights[order])
    torch.testing.assert_close(shuffled, loss)


@CASES
def test_it_does_not_grow_with_the_number_of_examples(case):
    student, teacher = logits(0), logits(1)
    twice = compute(case, student.repeat(2, 1), teacher.repeat(2, 1), LABELS.repeat(2))
    torch.testing.assert_close(twice, compute(case, student, teacher))


@CASES
def test_weights_of_examples_are_factors_of_their_losses(case):
    """Equal weights are a factor, and an example without weight could as well be another."""
    student, teacher = logits(0).double(), logits(1).double()
    loss = compute(case, student, teacher)
    torch.testing.assert_close(
        compute(case, student, teacher, weights=torch.full((16,), 3.0)), 3 * loss
    )
    weights = torch.ones(16, dtype=torch.float64)
    weights[3] = 0
    other = student.clone()
    other[3] = logits(8)[0]
    torch.testing.assert_close(
        compute(case, student, teacher, weights=weights),
        compute(case, other, teacher, weights=weights),
    )
    if case.keys["loss"] != "dist":  # which relates examples to each other
        rest = torch.arange(16) != 3
        without = compute(case, student[rest], teacher[rest], LABELS[rest])
        torch.testing.assert_close(
            compute(case, student, teacher, weights=weights), without * 15 / 16
        )


@CASES
def test_it_looks_away_from_what_its_paper_says_it_does(case):
    student, teacher = logits(0).double(), logits(1).double()
    loss = compute(case, student, teacher)
    changed = {
        "shift": (student + torch.arange(16)[:, None], teacher - 2),
        "scale": (student * torch.linspace(0.5, 4, 16)[:, None], teacher * 3),
        "scale of the teacher": (student, teacher * torch.linspace(0.5, 4, 16)[:, None]),
    }
    for name, (one, other) in changed.items():
        same = torch.isclose(compute(case, one, other), loss, rtol=1e-5, atol=1e-9)
        assert same == (
            name in case.ignores or (name == "scale of the teacher" and "scale" in case.ignores)
        ), name


@CASES
def test_inputs_are_left_as_they_are_and_the_teacher_gets_no_gradient_of_its_own_making(case):
    student, teacher = logits(0), logits(1)
    compute(case, student, teacher)
    assert torch.equal(student, logits(0))
    assert torch.equal(teacher, logits(1))


def test_the_table_of_losses_has_a_row_in_the_table_of_cases():
    assert set(LOGITS) == {case.keys["loss"] for case in LOSSES if case.over == "logits"}

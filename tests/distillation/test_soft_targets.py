import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from espalier.distillation.losses import soft_targets

SIZES = (7, 10)


def logits(seed, spread=3.0):
    return torch.randn(SIZES, generator=torch.Generator().manual_seed(seed)) * spread


def by_hand(student, teacher, temperature):
    """T² Σ p log(p / q), averaged over the examples, with p and q softened by T, in double precision."""
    ours = log_softmax(student.double().numpy() / temperature, axis=1)
    theirs = log_softmax(teacher.double().numpy() / temperature, axis=1)
    return temperature**2 * float((np.exp(theirs) * (theirs - ours)).sum(1).mean())


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_it_is_the_formula_of_the_paper(temperature):
    student, teacher = logits(0), logits(1)
    expected = by_hand(student, teacher, temperature)
    assert soft_targets(
        student.double(), teacher.double(), temperature=temperature
    ).item() == pytest.approx(expected, rel=1e-12)
    if temperature <= 4:  # above, single precision has fewer digits left of the small divergence
        found = soft_targets(student, teacher, temperature=temperature).item()
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_nothing_where_both_agree_and_more_elsewhere(temperature):
    teacher = logits(1)
    assert soft_targets(teacher, teacher, temperature=temperature).item() == pytest.approx(
        0, abs=1e-6
    )
    assert soft_targets(teacher + 5, teacher, temperature=temperature).item() == pytest.approx(
        0, abs=1e-5
    )
    assert soft_targets(logits(0), teacher, temperature=temperature).item() > 0.1
    student = teacher.clone().requires_grad_()
    soft_targets(student, teacher, temperature=temperature).backward()
    assert student.grad.abs().max().item() < 1e-6


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_its_gradient_is_the_difference_of_the_softened_distributions(temperature):
    """Equation 2 of the paper, times the temperature squared: T (q - p) / N."""
    student, teacher = logits(0).double().requires_grad_(), logits(1).double()
    soft_targets(student, teacher, temperature=temperature).backward()
    difference = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    torch.testing.assert_close(student.grad, temperature * difference.detach() / len(student))


def test_at_high_temperature_it_matches_logits_of_zero_mean():
    """Equation 4: the gradient approaches (student - teacher) / classes, here of the mean over N examples."""
    student, teacher = (
        one - one.mean(1, keepdim=True) for one in (logits(0).double(), logits(1).double())
    )
    expected = (student - teacher) / SIZES[1] / SIZES[0]
    student.requires_grad_()
    errors = []
    for temperature in (10.0, 100.0, 1000.0):
        (gradient,) = torch.autograd.grad(
            soft_targets(student, teacher, temperature=temperature), student
        )
        errors.append(((gradient - expected).norm() / expected.norm()).item())
    assert errors[0] > 5 * errors[1] > 25 * errors[2]  # the rest is of order 1/T
    assert errors[2] < 0.01


def test_it_does_not_grow_with_the_number_of_examples():
    student, teacher = logits(0), logits(1)
    twice = soft_targets(torch.cat([student] * 2), torch.cat([teacher] * 2))
    torch.testing.assert_close(twice, soft_targets(student, teacher))


def test_confident_logits_stay_finite():
    student = (logits(0) * 1e4).requires_grad_()
    loss = soft_targets(student, logits(1) * 1e4, temperature=1.0)
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()

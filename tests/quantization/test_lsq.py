"""Learned steps: the values and gradients of Esser et al. 2020, eq. 1 to 5."""

import math

import pytest
import torch

from espalier.quantization.lsq import (
    Step,
    activation_step,
    fake_quantize,
    scale_gradient,
    weight_step,
)

RANGES = pytest.mark.parametrize(
    ("low", "high", "zero"), [(0, 255, 0), (0, 255, 100), (-64, 64, 0), (-127, 127, 0)]
)


def values(low: int, high: int, step: float) -> torch.Tensor:
    """Values outside the range on both sides, and none on the edge of two levels."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(4000, generator=generator, dtype=torch.double) * 1.5 - 0.25) * (
        high - low
    ) * step + low * step
    return x[((x / step) % 1 - 0.5).abs() > 1e-6]


@RANGES
def test_values_are_those_of_torchs_own_fake_quantization(low, high, zero):
    x = (values(low, high, 0.03) - zero * 0.03).float()
    step, at = torch.tensor(0.03), torch.tensor(zero, dtype=torch.int32)
    exact = torch.fake_quantize_per_tensor_affine(x, step, at, low, high)
    torch.testing.assert_close(fake_quantize(x, step, at, low, high), exact, rtol=0, atol=1e-5)


@RANGES
def test_gradients_are_those_of_the_papers_equations(low, high, zero):
    """Eq. 3: -v/s + round(v/s) inside, the bound outside. Eq. 5: 1 inside, 0 outside."""
    step = torch.tensor(0.03, dtype=torch.double, requires_grad=True)
    x = (values(low, high, 0.03) - zero * 0.03).requires_grad_()
    fake_quantize(x, step, torch.tensor(zero), low, high).sum().backward()
    ratio = (x / step).detach()
    inside = (ratio > low - zero) & (ratio < high - zero)
    of_step = torch.where(
        inside, ratio.round() - ratio, torch.where(ratio > 0, high - zero, low - zero)
    )
    torch.testing.assert_close(x.grad, inside.double())
    torch.testing.assert_close(step.grad, of_step.sum(), rtol=1e-9, atol=1e-9)


def test_quantization_is_idempotent():
    step = activation_step(-1.0, 3.0, shared=1)
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 2
    once = step(x)
    torch.testing.assert_close(step(once), once, rtol=0, atol=1e-6)
    assert len(once.unique()) <= 256


def test_a_scaled_gradient_leaves_the_value():
    x = torch.tensor([1.5, -2.0], requires_grad=True)
    scaled = scale_gradient(x, 0.125)
    assert torch.equal(scaled, x)
    scaled.sum().backward()
    assert torch.equal(x.grad, torch.full((2,), 0.125))


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_gradient_of_a_step_is_scaled_by_values_and_levels(per_channel):
    """1 / sqrt(N Q) of section 2.2, with N the weights that share the step and Q the largest level."""
    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    step = weight_step(weight, per_channel=per_channel, reduce_range=False)
    assert step.step.shape == ((4,) if per_channel else ())
    step(weight).square().sum().backward()
    plain = step.step.detach().clone().requires_grad_()
    shaped = plain.view(-1, 1, 1, 1) if per_channel else plain
    fake_quantize(weight, shaped, torch.tensor(0), -127, 127).square().sum().backward()
    count = 75 if per_channel else 300
    torch.testing.assert_close(step.step.grad, plain.grad / math.sqrt(count * 127))


@pytest.mark.parametrize(("reduce_range", "high"), [(True, 64), (False, 127)])
def test_the_first_step_of_weights_holds_the_largest_of_each_filter(reduce_range, high):
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    step = weight_step(weight, per_channel=True, reduce_range=reduce_range)
    largest = weight.abs().amax(1)
    torch.testing.assert_close(step.step.detach()[largest > 0] * high, largest[largest > 0])
    assert (step(weight) - weight).abs().max() <= step.step.max() / 2 * 1.001
    assert not step(weight)[2].any()
    assert step.step[2] > 0


@pytest.mark.parametrize(
    ("low", "high", "zero"), [(0.0, 4.0, 0), (-1.0, 3.0, 64), (1.0, 2.0, 0), (-2.0, -1.0, 255)]
)
def test_the_first_range_of_activations_holds_zero_exactly(low, high, zero):
    step = activation_step(low, high, shared=10)
    assert int(step.zero) == zero
    assert step(torch.zeros(1)).item() == 0
    ends = torch.tensor([low, high])
    assert (step(ends) - ends).abs().max() <= step.size() * 0.501


def test_a_step_never_grows_past_the_largest_value_there_is():
    step = activation_step(0.0, 5.0, shared=10, most=6.0)
    with torch.no_grad():
        step.step.fill_(1.0)
    assert step.size() * 255 <= 6.0
    assert step(torch.tensor([100.0])).item() == pytest.approx(6.0, rel=1e-5)


def test_a_step_that_training_made_negative_is_its_magnitude():
    step = Step(torch.tensor(0.1), 0, 0, 255, shared=1)
    x = torch.rand(100, generator=torch.Generator().manual_seed(0)) * 20
    before = step(x).detach()
    with torch.no_grad():
        step.step.neg_()
    assert torch.equal(step(x), before)


def test_training_a_step_gives_up_a_long_tail():
    """From MinMax's step, gradient descent goes to a smaller error, though not to the smallest (section 3.6)."""
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    x[0] = 40.0
    step = Step(torch.tensor(40.0 / 7), 8, 0, 15, shared=1)
    optimizer = torch.optim.Adam(step.parameters(), 0.02)
    before = (step(x) - x)[1:].square().mean().item()
    for _ in range(300):
        optimizer.zero_grad()
        (step(x) - x)[1:].square().mean().backward()
        optimizer.step()
    assert (step(x) - x)[1:].square().mean().item() < 0.05 * before


def test_a_step_at_its_bound_still_learns():
    """The largest value of ReLU6 often occurs, and calibration begins with the step that holds it."""
    step = activation_step(0.0, 6.0, shared=64, most=6.0)
    x = torch.rand(64, generator=torch.Generator().manual_seed(0)) * 0.2
    optimizer = torch.optim.Adam([step.step], 1e-4)
    errors = []
    for _ in range(250):
        optimizer.zero_grad()
        error = (step(x) - x).square().sum()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < errors[0] / 10


def test_and_never_grows_beyond_it():
    step = activation_step(0.0, 6.0, shared=64, most=6.0)
    x = torch.full((64,), 60.0)
    optimizer = torch.optim.SGD([step.step], 0.01)
    for _ in range(20):
        optimizer.zero_grad()
        (step(x) - x).square().sum().backward()
        optimizer.step()
    assert step.step.item() == pytest.approx(6 / 255)
    assert step.size().item() <= 6 / 255

"""Properties that many things should have, as functions that say so by failing."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from espalier.errors import BadInput


@torch.no_grad()
def assert_equal_outputs(one: nn.Module, other: nn.Module, images: Tensor) -> None:
    """Two networks compute the same bits in evaluation mode; their modes are left as they were."""
    answers = []
    for network in (one, other):
        training = network.training
        answers.append(network.eval()(images))
        network.train(training)
    assert torch.equal(*answers), (
        f"outputs differ by up to {(answers[0] - answers[1]).abs().max().item():.3g}"
    )


def assert_equal_weights(one: nn.Module, other: nn.Module) -> None:
    """Two networks hold the same bits: weights, running statistics, counters."""
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    differing = [name for name in first if not torch.equal(first[name].cpu(), second[name].cpu())]
    assert not differing, f"{len(differing)} of {len(first)} tensors differ, {differing[0]} first"


def assert_right_in_every_precision(compute, student: Tensor, teacher: Tensor, atol: float) -> None:
    """A loss and its gradient are, in any precision, what double precision makes of the same rounded numbers."""
    dtype, student = student.dtype, student.requires_grad_()
    loss = compute(student, teacher)
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = student.detach().double().requires_grad_()
    expected = compute(exact, teacher.double())
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=atol)
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() > 0
    digits = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-4, torch.float64: 1e-12}[
        dtype
    ]
    torch.testing.assert_close(
        student.grad.double(), exact.grad, rtol=digits, atol=digits * exact.grad.abs().max()
    )


@contextmanager
def assert_input_untouched(network: nn.Module) -> Iterator[None]:
    """The block leaves a network as it was: its tensors, their shapes, and the mode of every layer."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [(name, module.training, repr(module)) for name, module in network.named_modules()]
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    yield
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [
        (name, module.training, repr(module)) for name, module in network.named_modules()
    ] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted


@contextmanager
def assert_random_numbers_untouched() -> Iterator[None]:
    """The block draws nothing from torch's global generator."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def assert_refuses(error: BaseException, *words: str) -> None:
    """An error is for the user: one sentence of the form `should ... Found ...`, with these words in it."""
    text = str(error)
    assert isinstance(error, BadInput)
    assert "\n" not in text
    missing = [word for word in words if word not in text]
    assert not missing, f"{missing} is not in: {text}"


def assert_explains(error: BaseException, *words: str) -> None:
    """Like `assert_refuses`, and it says what was expected and what was found."""
    assert_refuses(error, *words)
    text = str(error)
    assert "Expected " in text, text
    assert "found" in text, text


def example_of(shape):
    """One example of zeros, or one for each of several inputs, for the shapes without the batch."""
    if isinstance(shape[0], tuple):
        return tuple(torch.zeros(1, *one) for one in shape)
    return torch.zeros(1, *shape)

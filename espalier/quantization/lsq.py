"""Learned step size quantization (Esser et al. 2020): the step between two levels is trained with the weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

_SMALLEST = 1e-12  # smallest step, which is a divisor


def fake_quantize(x: Tensor, step: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
    """Quantize and dequantize `x`, with gradients for `x` and the step (eq. 1, 2, 3 and 5).

    The integer is `round(x / step) + zero`, clamped to `low..high`. Rounding passes gradients
    through, so the gradient of `x` is 1 inside the range and 0 outside; that of the step is
    `round(x / step) - x / step` inside, and the bound minus `zero` outside.

    Args:
        x: any values.
        step: distance of two levels, above 0; its shape broadcasts to that of `x`.
        zero: integer that represents 0; its shape broadcasts to that of `x`.
        low: smallest integer.
        high: largest integer.
    """
    exact = (x / step + zero).clamp(low, high)
    rounding = exact.round() - exact
    integer = exact + rounding.detach()
    return (integer - zero) * step


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x`, with a gradient that is `factor` times as large."""
    return (x - x * factor).detach() + x * factor


class _Clamp(torch.autograd.Function):
    """A clamp that passes the gradients that lead back within its bounds, so that no step stays at one for good."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        """`x` within the bounds."""
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient, where descending it does not lead further out."""
        (x,), (gradient,), (low, high) = ctx.saved_tensors, gradients, ctx.bounds
        outward = (x >= high) & (gradient < 0) | (x <= low) & (gradient > 0)
        return gradient.masked_fill(outward, 0), None, None


class Step(nn.Module):
    """A learned step of a tensor, or one for each of its channels.

    The gradient of a step is divided by sqrt(values that share it * levels) (section 2.2), so that
    steps learn as fast as weights.
    """

    def __init__(
        self, step: Tensor, zero: int, low: int, high: int, *, shared: float, most: float = math.inf
    ) -> None:
        """Start with a step.

        Args:
            step: step above 0 of the whole tensor (), or of each index of its first dimension (C,).
            zero: integer that represents 0; it is not trained.
            low: smallest integer.
            high: largest integer.
            shared: number of values that share a step; of activations, in one example.
            most: largest value that occurs; the step never grows beyond what it needs.
        """
        super().__init__()
        self.step = nn.Parameter(step.detach().clone())
        self.zero: Tensor
        self.register_buffer(
            "zero", torch.full(step.shape, zero, dtype=torch.int32, device=step.device)
        )
        self.low, self.high = low, high
        self._factor = 1 / math.sqrt(shared * high)
        # slightly less, because the runtime compares the product in float32
        self._most = most / max(1, high - zero) * (1 - 1e-6)

    def size(self) -> Tensor:
        """The step in use."""
        within: Tensor = _Clamp.apply(self.step.abs(), _SMALLEST, self._most)
        return within

    @torch.no_grad()
    def freeze(self) -> None:
        """Set the parameter to the step in use, for an export."""
        self.step.copy_(self.size())
        self.step.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Fake quantization of a tensor; in an export, the pair of QuantizeLinear and DequantizeLinear."""
        if torch.onnx.is_in_onnx_export():
            if self.step.ndim:
                return torch.fake_quantize_per_channel_affine(x, self.step, self.zero, 0, -128, 127)
            bounds = (0, 255) if self.low == 0 else (-128, 127)
            return torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, *bounds)
        step, zero = scale_gradient(self.size(), self._factor), self.zero
        if step.ndim:
            step, zero = per_channel(step, x), per_channel(zero, x)
        return fake_quantize(x, step, zero, self.low, self.high)

    @torch.no_grad()
    def held(self, x: Tensor) -> Tensor:
        """A tensor whose values lie within the levels, for a type that has more of them."""
        step = per_channel(self.size(), x) if self.step.ndim else self.size()
        return x.clamp(self.low * step, self.high * step)


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """(C,) in a shape that broadcasts over the first dimension of `x`."""
    others = [1] * (x.ndim - 1)
    return values.view(-1, *others)


def activation_step(low: float, high: float, *, shared: float, most: float = math.inf) -> Step:
    """The step of unsigned 8-bit activations whose values lie in a range, which is widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max(high - low, 1e-6) / 255
    return Step(torch.tensor(step), round(-low / step), 0, 255, shared=shared, most=most)


def weight_step(weight: Tensor, *, per_channel: bool, reduce_range: bool) -> Step:
    """The step of signed 8-bit weights that represents the largest of them: per filter, or of all."""
    high = 64 if reduce_range else 127
    values = weight.detach().abs()
    largest = values.flatten(1).amax(1) if per_channel else values.amax()
    # a filter of zeros takes any step, but with a tiny one the integer of its bias would be too large
    largest = torch.where(largest > 0, largest, values.amax().clamp_min(1e-3))
    return Step(largest / high, 0, -high, high, shared=weight.numel() / largest.numel())

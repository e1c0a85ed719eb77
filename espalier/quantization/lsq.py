"""Learned step size quantization (Esser et al.

2020): the step between two levels is trained along with the weights.
"""

import math

import torch
from torch import Tensor, nn

_SMALLEST = 1e-12  # of a step: what is divided by


def fake_quantize(x: Tensor, step: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
    """What remains of `x` after a journey through integers, with a gradient for both (eq.

    1, 2, 3 and 5).

    The integer is `round(x / step) + zero`, held within `low..high`. Rounding passes gradients
    straight through, so that of `x` is 1 inside the range and 0 outside, and that of the step is
    `round(x / step) - x / step` inside, and the bound minus `zero` outside.

    Args:
        x: Any values.
        step: The distance of two levels, above 0; its shape broadcasts to that of `x`.
        zero: The integer that stands for 0; likewise.
        low: The smallest integer.
        high: The largest.
    """
    exact = (x / step + zero).clamp(low, high)
    integer = exact + (exact.round() - exact).detach()
    return (integer - zero) * step


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x`, with a gradient that is `factor` times as large."""
    return (x - x * factor).detach() + x * factor


class Step(nn.Module):
    """A learned step of a tensor, or one for each of its channels.

    The gradient of a step is divided by the root of how many values share it times the levels
    (section 2.2), so that steps learn as fast as weights do.
    """

    def __init__(
        self, step: Tensor, zero: int, low: int, high: int, *, shared: float, most: float = math.inf
    ) -> None:
        """Begin with a step.

        Args:
            step: (): of the whole tensor; (C,): of its first dimension. Above 0.
            zero: The integer that stands for 0; it stays.
            low: The smallest integer.
            high: The largest.
            shared: How many values there are to a step; of activations, in one image.
            most: The largest value that there is to be told apart: the step never grows past what
                it needs.
        """
        super().__init__()
        self.step = nn.Parameter(step.detach().clone())
        self.zero: Tensor
        self.register_buffer(
            "zero", torch.full(step.shape, zero, dtype=torch.int32, device=step.device)
        )
        self._low, self._high = low, high
        self._factor = 1 / math.sqrt(shared * high)
        self._most = (
            most / max(1, high - zero) * (1 - 1e-6)
        )  # a hair less: the runtime compares the product in float32

    def size(self) -> Tensor:
        """The step in use."""
        return self.step.abs().clamp(_SMALLEST, self._most)

    @torch.no_grad()
    def freeze(self) -> None:
        """Let the step in use be the parameter itself, for an export."""
        self.step.copy_(self.size())
        self.step.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Fake quantization of a tensor; in an export, the pair of QuantizeLinear and DequantizeLinear."""
        if torch.onnx.is_in_onnx_export():
            if self.step.ndim:
                return torch.fake_quantize_per_channel_affine(x, self.step, self.zero, 0, -128, 127)
            bounds = (0, 255) if self._low == 0 else (-128, 127)
            return torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, *bounds)
        step, zero = scale_gradient(self.size(), self._factor), self.zero
        if step.ndim:
            step, zero = (one.view(-1, *[1] * (x.ndim - 1)) for one in (step, zero))
        return fake_quantize(x, step, zero, self._low, self._high)

    @torch.no_grad()
    def held(self, x: Tensor) -> Tensor:
        """A tensor whose values lie within the levels, for a type that has more of them."""
        step = self.size().view(-1, *[1] * (x.ndim - 1)) if self.step.ndim else self.size()
        return x.clamp(self._low * step, self._high * step)


def activation_step(low: float, high: float, *, shared: float, most: float = math.inf) -> Step:
    """The step of unsigned 8-bit activations whose values lie in a range, which is widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max(high - low, 1e-6) / 255
    return Step(torch.tensor(step), round(-low / step), 0, 255, shared=shared, most=most)


def weight_step(weight: Tensor, *, per_channel: bool, reduce_range: bool) -> Step:
    """The step of signed 8-bit weights that holds the largest of them: of each filter, or of all."""
    high = 64 if reduce_range else 127
    values = weight.detach().abs()
    largest = values.flatten(1).amax(1) if per_channel else values.amax()
    # a filter of nothing but zeros takes any step; a tiny one would make its bias too large an
    # integer
    largest = torch.where(largest > 0, largest, values.amax().clamp_min(1e-3))
    return Step(largest / high, 0, -high, high, shared=weight.numel() / largest.numel())

"""Incremental network quantization (Zhou et al. 2017): weights become integers group by group."""

from typing import Self

import torch
from torch import Tensor

from espalier.quantization.lsq import Step, per_channel


class IncrementalStep(Step):
    """A fixed step of a weight; a growing part of the weight is quantized, and the rest is trained.

    The quantized elements keep their levels, and no gradient reaches them; the others are used as
    they are, in floating point, and compensate for them (section 2.2, Algorithm 1). The step is that of the
    largest element (section 2.1) and is not trained: a learned one would move the fixed levels.

    Example:
        Weights [0.9, -0.4, 0.26, 0.1] with a step of 0.25 and half of them quantized are
        [1, -0.5, 0.26, 0.1].
    """

    fixed: Tensor
    is_fixed: Tensor

    @classmethod
    def of(cls, step: Step, weight: Tensor) -> Self:
        """The step of a weight, none of whose elements is quantized yet."""
        own = cls(step.step, 0, step.low, step.high, shared=1)
        own.step.requires_grad_(False)
        own.register_buffer("fixed", torch.zeros_like(weight.detach()))
        own.register_buffer("is_fixed", torch.zeros_like(weight, dtype=torch.bool))
        return own

    @torch.no_grad()
    def quantize_portion(self, weight: Tensor, portion: float) -> None:
        """Quantize further elements, the largest first, until a portion of all is quantized.

        Args:
            weight: current values; the largest of them are chosen ("pruning-inspired partition",
                section 2.2), and quantized ones stay chosen.
            portion: fraction of all elements that is quantized afterwards, in [0, 1].
        """
        size = weight.abs().masked_fill(self.is_fixed, torch.inf).flatten()
        largest = size.argsort(descending=True, stable=True)[: round(portion * size.numel())]
        chosen = torch.zeros_like(self.is_fixed).view(-1)
        chosen[largest] = True
        added = chosen.view_as(self.is_fixed) & ~self.is_fixed
        self.fixed.copy_(torch.where(added, self._levels(weight), self.fixed))
        self.is_fixed.logical_or_(added)

    def forward(self, x: Tensor) -> Tensor:
        """The weight with its quantized part; in an export, where all of it is, as `Step`."""
        if torch.onnx.is_in_onnx_export():
            return super().forward(x)
        return torch.where(self.is_fixed, self.fixed, x)

    def _levels(self, weight: Tensor) -> Tensor:
        """The nearest level of each element."""
        step = per_channel(self.size(), weight) if self.step.ndim else self.size()
        return (weight / step).round().clamp(self.low, self.high) * step

    @torch.no_grad()
    def held(self, x: Tensor) -> Tensor:
        """The weight with its quantized part, within the levels."""
        return super().held(torch.where(self.is_fixed, self.fixed, x))

"""Tensors: arrays of one shape that a function of a trusted package gives."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.inputs.plain import PlainInput


@dataclass(frozen=True)
class TensorFacts:
    """Facts of tensors in `dataset.json`.

    Attributes:
        mean: mean of each channel, the first axis, over the train split.
        std: standard deviation of each channel; 1 for a constant one.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Standardize(nn.Module):
    """Maps tensors (N, channels, ...) to mean 0 and standard deviation 1 per channel.

    Args:
        mean: mean of each channel.
        std: standard deviation of each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, values: Tensor) -> Tensor:
        """The standardised tensors."""
        along = (1, -1) + (1,) * (values.ndim - 2)
        return (values - self.mean.view(along)) / self.std.view(along)


class TensorInput(PlainInput):
    """The kind `tensor`: float32 arrays (channels, ...) of one shape."""

    name = "tensor"
    plural = "tensors"
    dtype = torch.float32
    facts_type = TensorFacts

    def decode(self, content: NDArray[Any]) -> NDArray[np.float32]:
        """The array in float32.

        Raises:
            ValueError: if it has no axis, or a value is not finite.
        """
        array = np.ascontiguousarray(content, np.float32)
        if not array.ndim:
            raise ValueError("a single number instead of an array")
        if not np.isfinite(array).all():
            raise ValueError("a value that is not finite")
        return array

    def digest(self, example: NDArray[np.float32]) -> str:
        """SHA-256 of the values."""
        return hashlib.sha256(example.tobytes()).hexdigest()

    def store(
        self, examples: Sequence[NDArray[np.float32]], train: NDArray[np.int64], **options: Any
    ) -> tuple[NDArray[np.float32], TensorFacts]:
        """The arrays (N, channels, ...), and the facts of the train split.

        Raises:
            BadInput: if their shapes differ.
        """
        del options
        shapes = {example.shape for example in examples}
        if len(shapes) > 1:
            raise BadInput(
                f"Expected all tensors to have one shape; found {', '.join(map(str, sorted(shapes)[:5]))}."
            )
        stored = np.stack(list(examples))
        rest = (0, *range(2, stored.ndim))
        known = stored[train].astype(float)
        std = known.std(rest)
        return stored, TensorFacts(
            tuple(known.mean(rest).tolist()), tuple(np.where(std > 0, std, 1.0).tolist())
        )

    def describe(self, shape: tuple[int, ...], facts: TensorFacts) -> str:
        """The form of an example, such as `13x40`."""
        del facts
        return "x".join(map(str, shape))

    def front(self, facts: TensorFacts) -> Standardize:
        """The standardisation."""
        return Standardize(facts.mean, facts.std)

    def display(self, example: NDArray[np.float32], facts: TensorFacts) -> str:
        """The range of the values."""
        del facts
        return f"values from {example.min():.4g} to {example.max():.4g}"


__all__ = ["Standardize", "TensorFacts", "TensorInput"]

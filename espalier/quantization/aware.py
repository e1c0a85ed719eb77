"""A network that computes as its integer file will, so that it can be trained for it (Jacob et al. 2018, section 3)."""

import copy
from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.structure import Masked, Shared, masked_weights, record, shared_weights
from espalier.quantization.calls import IMAGE, Intercepted, Plan, plan
from espalier.quantization.incremental import IncrementalStep
from espalier.quantization.lsq import Step, activation_step, weight_step
from espalier.quantization.ranges import BINS, CALIBRATIONS, Histogram, count_magnitudes


class Aware(nn.Module):
    """A network with a learned step after every value and weight that becomes integer.

    The inner network always runs in evaluation mode: folded batch norms have no batch statistics,
    and dropout is not deployed.

    Attributes:
        network: inner network, with weights in floating point.
        values: steps of activations, by the number of the call that returns them.
        weights: steps of weights, by the number of the first call that multiplies by them.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: Plan,
        values: Mapping[int, Step],
        weights: Mapping[int, Step],
    ) -> None:
        """Insert steps into a network."""
        super().__init__()
        self.network = network.eval()
        self.values = nn.ModuleDict({_key(number): step for number, step in values.items()})
        self.weights = nn.ModuleDict({_key(number): step for number, step in weights.items()})
        self.plan = plan
        first = {name: number for number, name in reversed(plan.weights.items())}
        self._first = {number: _key(first[name]) for number, name in plan.weights.items()}
        record(self, Masked(tuple(f"network.{name}" for name in masked_weights(network))))
        record(self, Shared(tuple(f"network.{name}" for name in shared_weights(network))))

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of everything but the inner network."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        x = self._value(IMAGE, "", x)
        with Intercepted(self._value, self._weight):
            logits: Tensor = self.network(x)
        return logits

    def quantize_portion(self, portion: float) -> None:
        """Quantize a larger portion of each weight, if the steps of weights are incremental.

        Args:
            portion: fraction of the elements of each weight that is quantized afterwards.

        Raises:
            BadInput: if the network was not prepared with `incremental`.
        """
        for weight, step in self._weights_and_steps():
            if not isinstance(step, IncrementalStep):
                raise BadInput(
                    "Expected a network that was prepared with `incremental=True` to be quantized by "
                    "portions; found weights with learned steps."
                )
            step.quantize_portion(weight, portion)

    def _weights_and_steps(self) -> Iterator[tuple[nn.Parameter, Step]]:
        """Each weight once, with its step."""
        parameters = dict(self.network.named_parameters())
        names = {key: self.plan.weights[number] for number, key in self._first.items()}
        for key, name in names.items():
            step = self.weights[key]
            assert isinstance(step, Step)
            yield parameters[name], step

    def frozen(self) -> Self:
        """A copy on the CPU for the export, with weights within their levels and final steps."""
        copied = copy.deepcopy(self).cpu()
        with torch.no_grad():
            for weight, step in copied._weights_and_steps():
                weight.copy_(step.held(weight))
        for one in (*copied.values.values(), *copied.weights.values()):
            one.freeze()  # type: ignore[operator]
        return copied

    def _value(self, number: int, name: str, value: Tensor) -> Tensor:
        if number in self.plan.moved and torch.onnx.is_in_onnx_export():
            # quantizing again changes nothing, and lets the runtime move integers
            same: Tensor = self.values[_key(self.plan.moved[number])](value)
            return same
        if number not in self.plan.values:
            return value
        if name != self.plan.values[number][0]:
            raise BadInput(
                "Expected a network that is trained for integers to make the same calls for every "
                f"batch; found {name!r} in place of {self.plan.values[number][0]!r} at call {number}."
            )
        quantized: Tensor = self.values[_key(number)](value)
        return quantized

    def _weight(self, number: int, weight: Tensor) -> Tensor:
        if number not in self._first:
            return weight
        quantized: Tensor = self.weights[self._first[number]](weight)
        return quantized


def aware(
    network: nn.Module,
    images: Tensor,
    *,
    calibration: str = "entropy",
    per_channel: bool = True,
    reduce_range: bool = True,
    incremental: bool = False,
) -> Aware:
    """Prepare a network for quantization-aware training, with steps chosen by calibration.

    Args:
        network: network with folded batch norms; it becomes part of the result.
        images: inputs (N, C, H, W) float32 as the network sees them, on its device.
        calibration: choice of the first range of an activation from its values on the images.
        per_channel: whether every filter of a weight has its own step.
        reduce_range: whether weights use 7 bits.
        incremental: whether weights stay in floating point until `Aware.quantize_portion`, with
            steps that are not trained.

    Raises:
        BadInput: if the calibration is unknown, or nothing can become integer.
    """
    if calibration not in CALIBRATIONS:
        raise BadInput(
            f"Expected `calibration` to be one of {', '.join(CALIBRATIONS)}; found {calibration!r}."
        )
    network.eval()
    found = plan(network, images[:2])
    if not found.weights:
        raise BadInput(
            "Expected convolutions or linear layers that become integers; found none: `scheme: static` "
            "quantizes the deployed file instead."
        )
    ranges = {
        number: CALIBRATIONS[calibration](seen)
        for number, seen in _observe(network, found, images).items()
    }
    values = {
        number: activation_step(*ranges[number], shared=size, most=most)
        for number, (_, size, most) in found.values.items()
    }
    parameters = dict(network.named_parameters())
    weights: dict[int, Step] = {}
    for number, name in found.weights.items():
        if name not in [found.weights[one] for one in weights]:
            weight = parameters[name]
            step = weight_step(weight, per_channel=per_channel, reduce_range=reduce_range)
            weights[number] = IncrementalStep.of(step, weight) if incremental else step
    return Aware(network, found, values, weights).to(images.device)


@torch.no_grad()
def _observe(
    network: nn.Module, plan: Plan, images: Tensor, batch_size: int = 64
) -> dict[int, Histogram]:
    """Histograms of the values that become integers; the images run twice, for ranges and for bins."""
    low = dict.fromkeys(plan.values, np.inf)
    high = dict.fromkeys(plan.values, -np.inf)
    counts = {number: np.zeros(BINS, np.int64) for number in plan.values}

    def widen(number: int, name: str, value: Tensor) -> Tensor:
        if number in low:
            low[number] = min(low[number], value.min().item())
            high[number] = max(high[number], value.max().item())
        return value

    def count(number: int, name: str, value: Tensor) -> Tensor:
        if number in counts:
            counts[number] += count_magnitudes(value.cpu().numpy(), low[number], high[number])
        return value

    for observe in (widen, count):
        for batch in images.split(batch_size):
            observe(IMAGE, "", batch)
            with Intercepted(observe, lambda _, weight: weight):
                network(batch)
    return {number: Histogram(low[number], high[number], counts[number]) for number in plan.values}


def _key(number: int) -> str:
    return "image" if number == IMAGE else str(number)

"""Training for a small file: the price of the bits is part of the loss (Oktay et al. 2020, eq. 3).

Each tensor is a multiple of a learned step (Esser et al. 2020), rounded in the forward pass and
passed straight through in the backward pass. The price of a level is the code length that an
adaptive coder would need now: levels that are rare in their tensor are expensive, and so is a
nonzero level in a row or column of zeros. So rare levels disappear, and whole rows and columns
become zero.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espalier.coding.encodings import Steps, smallest_encoding
from espalier.coding.share import record_shared, rounded
from espalier.models.structure import (
    masked_weights,
    set_masked_weights,
    set_shared_weights,
    shared_weights,
)
from espalier.training.loss_inputs import LossInputs, Objective

_RARE = 0.5  # added to the count of every level, so that none is impossible
_SIZES = 32  # magnitudes that are counted one by one
_STEP_DIGITS = 7  # binary digits of a step behind the point
_LN2 = 0.6931471805599453
_BITS_PER_KILOBYTE = 8000


class Stepped(nn.Module):
    """A parametrization that rounds a weight to multiples of a learned step."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.tensor(float(step)).log())

    def forward(self, weight: Tensor) -> Tensor:
        """The nearest multiples; the gradient passes straight through the rounding."""
        scaled = weight / self.log_step.exp()
        return (scaled + (scaled.round() - scaled).detach()) * self.log_step.exp()


class _SteppedWeight(NamedTuple):
    """A weight with a step.

    Attributes:
        name: Name of the weight.
        layer: Layer that holds it.
        attribute: Name of the weight in the layer.
        latent: Parameter that is rounded.
        stepped: Parametrization that rounds it.
    """

    name: str
    layer: nn.Module
    attribute: str
    latent: nn.Parameter
    stepped: Stepped


def reparametrise(network: nn.Module, names: Iterable[str], *, fineness: float = 2.0) -> None:
    """Make weights multiples of learned steps, in place; layers that share a weight share its step.

    Args:
        network: Network; its state dict has other names until `round_to_steps` is called.
        names: Names of weights and biases.
        fineness: Number of initial steps in the root mean square of a weight's nonzero elements. A
            weight whose elements are multiples of a step already keeps that step.
    """
    names = list(names)
    masked = [_latent_name(name) if name in names else name for name in masked_weights(network)]
    set_masked_weights(network, masked)
    set_shared_weights(network, [name for name in shared_weights(network) if name not in names])
    places = _places(network)
    for name in names:
        weight = network.get_parameter(name)
        stepped = Stepped(_initial_step(weight.detach(), fineness)).to(weight.device)
        for place in places[weight]:
            owner, _, attribute = place.rpartition(".")
            layer = network.get_submodule(owner)
            parametrize.register_parametrization(layer, attribute, stepped)


def _places(network: nn.Module) -> dict[nn.Parameter, list[str]]:
    """All names of each parameter: those of the layers that share it."""
    places: dict[nn.Parameter, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        places.setdefault(parameter, []).append(name)
    return places


def _initial_step(weight: Tensor, fineness: float) -> float:
    encoding = smallest_encoding(weight.cpu().contiguous().numpy().ravel())
    if isinstance(encoding, Steps):
        return encoding.step
    used = weight[weight != 0]
    return used.square().mean().sqrt().item() / fineness if len(used) else 1.0


def _latent_name(name: str) -> str:
    """The name, in the state dict, of the parameter that is rounded."""
    owner, _, attribute = name.rpartition(".")
    return f"{owner}.parametrizations.{attribute}.original".lstrip(".")


def round_to_steps(network: nn.Module) -> None:
    """Round every weight to multiples of its rounded step, in place; record it as shared."""
    rounded_values: dict[nn.Parameter, Tensor] = {}  # of a weight that layers share, once
    names = []
    for weight in _stepped_weights(network):
        if weight.latent not in rounded_values:
            rounded_values[weight.latent] = _rounded_value(weight)
            names.append(weight.name)
        parametrize.remove_parametrizations(
            weight.layer, weight.attribute, leave_parametrized=False
        )
        with torch.no_grad():
            getattr(weight.layer, weight.attribute).copy_(rounded_values[weight.latent])
    latents = {_latent_name(name) for name in names}
    set_masked_weights(network, [name for name in masked_weights(network) if name not in latents])
    record_shared(network, names)


@torch.no_grad()
def _rounded_value(weight: _SteppedWeight) -> Tensor:
    """The nearest multiples of the rounded step."""
    exact_step = weight.stepped.log_step.exp()
    levels = (weight.latent / exact_step).round()
    return levels * rounded(exact_step, _STEP_DIGITS) + 0.0  # which makes a negative zero positive


class WithRate(nn.Module):
    """An objective plus the price of the bits of all weights with a step.

    A module, so that the trained parts of the objective are found; the network is not among them.

    Args:
        objective: Loss of the network's outputs.
        network: Network on which `reparametrise` was called.
        rate: Price of a kilobyte, in units of the loss.
        ramp: Fraction of all steps over which the price rises from zero.
    """

    def __init__(
        self, objective: Objective, network: nn.Module, rate: float, *, ramp: float = 0.3
    ) -> None:
        super().__init__()
        self.objective = objective
        self._network = (network,)  # a tuple hides it from torch
        self._rate = rate
        self._ramp = ramp

    def forward(self, given: LossInputs) -> Tensor:
        """The loss of a batch."""
        factor = min(1.0, given.progress / self._ramp) if self._ramp else 1.0
        kilobytes = total_bits(self._network[0]) / _BITS_PER_KILOBYTE
        return self.objective(given) + self._rate * factor * kilobytes


def total_bits(network: nn.Module) -> Tensor:
    """The approximate number of bits of all weights with a step, differentiable."""
    steps = {weight.latent: weight.stepped.log_step for weight in _stepped_weights(network)}
    lengths = [code_length(latent, log_step.exp()) for latent, log_step in steps.items()]
    return torch.stack(lengths).sum()


def code_length(weight: Tensor, step: Tensor) -> Tensor:
    """The approximate number of bits of a tensor: the empirical code length of its levels.

    The gradient is that of straight lines between the lengths at neighbouring levels: at 1.3 steps
    it is the difference between the lengths of levels 2 and 1.

    Args:
        weight: Weight of any shape; rows are outputs, columns inputs.
        step: Step, a scalar.
    """
    magnitude = weight.abs() / step
    scaled = magnitude.clamp(max=_SIZES - 2)
    with torch.no_grad():
        size = scaled.round().long()
        zero_bits, nonzero_bits = _significance((size != 0).float())
        lengths = _level_lengths(size)
        exact = torch.where(size == 0, zero_bits, nonzero_bits + lengths[size])
        lower = scaled.long()
        lower_bits = torch.where(lower == 0, zero_bits, nonzero_bits + lengths[lower])
        slope = (nonzero_bits + lengths[lower + 1] - lower_bits).clamp(min=0)
    # beyond the counted magnitudes two bits per doubling (Elias 1975)
    beyond = 2 * (magnitude.clamp(min=_SIZES - 2) / (_SIZES - 2)).log2()
    lines = scaled * slope
    return (exact + lines - lines.detach() + beyond).sum()


def _level_lengths(size: Tensor) -> Tensor:
    """(magnitudes,) code length of each, with the sign, by its frequency; 0 for magnitude 0."""
    counts = torch.bincount(size.flatten(), minlength=_SIZES).float()[1:] + _RARE
    lengths = 1 - (counts / counts.sum()).log2()  # one bit is the sign
    ascending = lengths.cummax(0).values  # a larger magnitude is never cheaper
    return torch.cat([lengths.new_zeros(1), ascending])


def _significance(nonzero: Tensor) -> tuple[Tensor, Tensor]:
    """The bits, at each position, of an element being zero, and of being nonzero.

    The odds at a position are those of its row times those of its column over those of the tensor.

    Args:
        nonzero: 1 where an element is nonzero, else 0.
    """
    odds = _log_odds(nonzero, tuple(range(nonzero.ndim)))
    if nonzero.ndim > 1:
        within_row = tuple(range(1, nonzero.ndim))
        within_column = (0, *range(2, nonzero.ndim))
        odds = _log_odds(nonzero, within_row) + _log_odds(nonzero, within_column) - odds
    odds = odds.expand(nonzero.shape)
    return nn.functional.softplus(odds) / _LN2, nn.functional.softplus(-odds) / _LN2


def _log_odds(nonzero: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The log odds of an element being nonzero, over some dimensions."""
    count = nonzero.sum(dims, keepdim=True)
    size = nonzero.numel() / count.numel()
    return ((count + _RARE) / (size - count + _RARE)).log()


def _stepped_weights(network: nn.Module) -> list[_SteppedWeight]:
    """All weights with a step."""
    found = []
    for name, layer in network.named_modules():
        if not parametrize.is_parametrized(layer):
            continue
        chains: Any = layer.parametrizations
        for attribute, chain in chains.items():
            if isinstance(chain[0], Stepped):
                full_name = f"{name}.{attribute}".lstrip(".")
                weight = _SteppedWeight(full_name, layer, attribute, chain.original, chain[0])
                found.append(weight)
    return found

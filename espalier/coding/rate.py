"""Training for a short file: the price of every weight's bits is a part of the loss (Oktay et al. 2020, eq. 3).

Each tensor is a multiple of a step that is learned along (Esser et al. 2020), rounded in the forward pass and followed
straight through in the backward pass. What a level costs is what an adaptive coder would pay for it now: levels that
are rare in their tensor are dear, and a number other than zero is dear in a row or column where nearly all are zero.
So rare levels die out, and rows and columns empty as a whole.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from espalier.coding.forms import Steps, find
from espalier.coding.share import record_shared, rounded
from espalier.models.structure import (
    masked_weights,
    set_masked_weights,
    set_shared_weights,
    shared_weights,
)
from espalier.training.engine import LossInputs, Objective

_RARE = 0.5  # counted to every level, so that none is impossible
_SIZES = 32  # sizes of levels that are told apart
_DIGITS = 7  # behind the binary point of a step


class Stepped(nn.Module):
    """A weight rounded to multiples of a step."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.tensor(float(step)).log())

    def forward(self, weight: Tensor) -> Tensor:
        """The nearest multiples; the gradient passes through the rounding."""
        scaled = weight / self.log_step.exp()
        return (scaled + (scaled.round() - scaled).detach()) * self.log_step.exp()


def reparametrise(network: nn.Module, names: Iterable[str], *, fineness: float = 2.0) -> None:
    """Let weights be multiples of steps from now on, in place.

    Args:
        network: Its state dict has other names until `settle` is called.
        names: Of weights and biases.
        fineness: So many steps make the root mean square of the numbers of a weight that are not zero, at first; one
            whose numbers are multiples of a step already goes on with that.
    """
    names = list(names)
    masked = [_latent(name) if name in names else name for name in masked_weights(network)]
    set_masked_weights(network, masked)
    set_shared_weights(network, [name for name in shared_weights(network) if name not in names])
    for name in names:
        owner, _, attribute = name.rpartition(".")
        layer = network.get_submodule(owner)
        weight = getattr(layer, attribute).detach()
        parametrize.register_parametrization(
            layer, attribute, Stepped(_step(weight, fineness)).to(weight.device)
        )


def _step(weight: Tensor, fineness: float) -> float:
    form = find(weight.cpu().contiguous().numpy().ravel())
    if isinstance(form, Steps):
        return form.step
    used = weight[weight != 0]
    return used.square().mean().sqrt().item() / fineness if len(used) else 1.0


def _latent(name: str) -> str:
    owner, _, attribute = name.rpartition(".")
    return f"{owner}.parametrizations.{attribute}.original".lstrip(".")


def settle(network: nn.Module) -> None:
    """Let every stepped weight be the multiples of a step that has few digits, in place; note that they are shared."""
    names = []
    for name, layer, attribute, latent, stepped in _stepped(network):
        levels = (latent.detach() / stepped.log_step.detach().exp()).round()
        step = rounded(stepped.log_step.detach().exp(), _DIGITS)
        parametrize.remove_parametrizations(layer, attribute, leave_parametrized=False)
        with torch.no_grad():
            getattr(layer, attribute).copy_(
                levels * step + 0.0
            )  # + 0.0 makes a negative zero positive
        names.append(name)
    latents = {_latent(name) for name in names}
    set_masked_weights(network, [name for name in masked_weights(network) if name not in latents])
    record_shared(network, names)


class WithRate(nn.Module):
    """An objective plus the price of the bits of all stepped weights of a network.

    A module, so that what the objective trains along is found; the network is no part of it.

    Args:
        objective: What the network should do.
        network: One on which `reparametrise` was called.
        rate: What a kilobyte costs, in units of the loss.
        ramp: The part of all steps over which the price rises to that.
    """

    def __init__(
        self, objective: Objective, network: nn.Module, rate: float, *, ramp: float = 0.3
    ) -> None:
        super().__init__()
        self.objective = objective
        self._network, self._rate, self._ramp = (network,), rate, ramp

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch."""
        factor = min(1.0, seen.progress / self._ramp) if self._ramp else 1.0
        return self.objective(seen) + self._rate * factor * bits(self._network[0]) / 8000


def bits(network: nn.Module) -> Tensor:
    """About how many bits the stepped weights of a network take, differentiable between the levels."""
    return torch.stack(
        [code_length(latent, one.log_step.exp()) for *_, latent, one in _stepped(network)]
    ).sum()


def code_length(weight: Tensor, step: Tensor) -> Tensor:
    """About how many bits a tensor takes: the empirical code length of its levels.

    The gradient is that of straight lines between the lengths at neighbouring levels.

    Args:
        weight: Of any shape; rows are outputs, columns inputs.
        step: A scalar.
    """
    whole = weight.abs() / step
    scaled = whole.clamp(max=_SIZES - 2)
    with torch.no_grad():
        size = scaled.round().long()
        zero, other = _significance((size != 0).float())
        counts = torch.bincount(size.flatten(), minlength=_SIZES).float()[1:] + _RARE
        lengths = 1 - (counts / counts.sum()).log2()  # one bit is the sign
        lengths = torch.cat(
            [lengths.new_zeros(1), lengths.cummax(0).values]
        )  # what is larger never seems cheaper
        exact = torch.where(size == 0, zero, other + lengths[size])
        index = scaled.long()
        below = torch.where(index == 0, zero, other + lengths[index])
        slope = (other + lengths[index + 1] - below).clamp(min=0)
    beyond = (
        2 * (whole.clamp(min=_SIZES - 2) / (_SIZES - 2)).log2()
    )  # two bits a doubling (Elias 1975)
    lines = scaled * slope
    return (exact + lines - lines.detach() + beyond).sum()


def _significance(nonzero: Tensor) -> tuple[Tensor, Tensor]:
    """What it costs in bits, at each place, to be zero, and to be not.

    The odds at a place are those of its row times those of its column over those of the tensor.
    """
    odds = _odds(nonzero, tuple(range(nonzero.ndim)))
    if nonzero.ndim > 1:
        row, column = tuple(range(1, nonzero.ndim)), (0, *range(2, nonzero.ndim))
        odds = _odds(nonzero, row) + _odds(nonzero, column) - odds
    odds = odds.expand(nonzero.shape)
    return nn.functional.softplus(odds) / _LN2, nn.functional.softplus(-odds) / _LN2


_LN2 = 0.6931471805599453


def _odds(nonzero: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The log odds of a number being other than zero, over some dimensions."""
    count = nonzero.sum(dims, keepdim=True)
    size = nonzero.numel() / count.numel()
    return ((count + _RARE) / (size - count + _RARE)).log()


def _stepped(network: nn.Module) -> list[tuple[str, nn.Module, str, nn.Parameter, Stepped]]:
    """Of every stepped weight: its name, its layer, its name there, what is rounded, and what rounds it."""
    found = []
    for name, layer in network.named_modules():
        chains: Any = layer.parametrizations if parametrize.is_parametrized(layer) else {}
        for attribute, chain in chains.items():
            if isinstance(chain[0], Stepped):
                found.append(
                    (f"{name}.{attribute}".lstrip("."), layer, attribute, chain.original, chain[0])
                )
    return found

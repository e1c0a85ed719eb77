"""Small networks written by hand, one for each way in which channels can depend on each other, with their units."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from espalier.measures.macs import count_macs
from espalier.pruning.costs.costs import Cost, macs
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.groups import DependencyGroups

SMALL = (3, 8, 8)
NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Network(nn.Module):
    """Layers by name, and a forward pass over them; the last layer is a linear one on the mean over space."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward

    def forward(self, *x: Tensor) -> Tensor:
        y = self.run(self, *x)
        return self.head(y.mean((2, 3)) if y.ndim == 4 else y)


class Scale(nn.Module):
    """Weights that are multiplied to what comes in."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Added(Scale):
    """Weights that are added."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


def conv(before: int, after: int, kernel: int = 3, **more: object) -> nn.Conv2d:
    """A convolution that keeps the size of the image."""
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, **more)


def head(width: int) -> nn.Linear:
    """The classifier."""
    return nn.Linear(width, 5)


@dataclass(frozen=True)
class Case:
    """A network, the shapes of its inputs, and how many units it should have: nothing may be fixed for convenience.

    Attributes:
        make: Builds it.
        units: How many there are.
        shapes: One tensor for each input.
        heads: How many of the units are attention heads.
    """

    make: Callable[[], nn.Module]
    units: int
    shapes: tuple[tuple[int, ...], ...] = (SMALL,)
    heads: int = 0


def hand(
    forward: Callable[..., Tensor],
    units: int,
    layers: Callable[[], dict[str, nn.Module]],
    **more: object,
) -> Case:
    """A case of a forward pass and its layers."""
    return Case(lambda: Network(forward, **layers()), units, **more)


def randomised(network: nn.Module) -> nn.Module:
    """In double precision, evaluation mode, with weights and statistics that are nowhere zero."""
    for module in network.modules():
        if getattr(module, "running_mean", None) is not None:
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, NORMS) and getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, (*NORMS, Scale)) and getattr(module, "weight", None) is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_bias, std=0.3)
    return network.double().eval()


@dataclass
class TracedNetwork:
    """A network with its units, some of them chosen to go."""

    network: nn.Module
    images: tuple[Tensor, ...]
    units: DependencyGroups
    kept: np.ndarray

    @classmethod
    def of(cls, case: Case) -> "TracedNetwork":
        """Trace a case; about half of each layer's units stay."""
        network = randomised(case.make())
        images = tuple(torch.randn(3, *shape, dtype=torch.double) for shape in case.shapes)
        units = find_dependency_groups(network, images)
        return cls(network, images, units, some(network, units, 0.5))

    @property
    def cost(self) -> Cost:
        """Multiply-accumulates."""
        return macs(self.network, self.units)

    def macs(self, network: nn.Module) -> int:
        """Multiply-accumulates of a network for one image."""
        return count_macs(network, self.images)

    def without(self, *, rows: bool) -> nn.Module:
        """A copy in which the producing weights (`rows`) or the consuming weights of removed groups are zero."""
        return silenced(self.network, self.units, self.kept, rows=rows)

    @torch.no_grad()
    def outputs(self, network: nn.Module) -> Tensor:
        """The outputs of a network; several are concatenated."""
        found = network(*self.images)
        values = (
            [found]
            if isinstance(found, Tensor)
            else list(found.values() if isinstance(found, dict) else found)
        )
        return torch.cat([value.flatten(1) for value in values], 1)


@torch.no_grad()
def silenced(
    network: nn.Module, units: DependencyGroups, kept: np.ndarray, *, rows: bool
) -> nn.Module:
    """A copy of a network in which what makes the units that go, or what reads them, is zero."""
    network = copy.deepcopy(network)
    for name, parameter in network.named_parameters():
        for dim, unit in units.where.get(name, {}).items():
            if ((name, dim) not in units.reads) == rows:
                goes = (unit >= 0) & ~kept[unit]
                parameter.index_fill_(dim, torch.from_numpy(np.flatnonzero(goes)), 0.0)
    return network


def some(network: nn.Module, units: DependencyGroups, share: float) -> np.ndarray:
    """A share of each layer's units, one at least; those under a layer norm, which sees all the others, stay."""
    kept = np.random.default_rng(0).random(units.count) < share
    kept[np.unique(units.layer, return_index=True)[1]] = True
    for name, module in network.named_modules():
        alone = isinstance(module, nn.GroupNorm) and module.num_groups == 1
        if (
            isinstance(module, nn.LayerNorm | nn.RMSNorm) or alone
        ) and f"{name}.weight" in units.where:
            unit = units.where[f"{name}.weight"][0]
            kept[unit[unit >= 0]] = True
    return kept


def assert_equal(one: Tensor, other: Tensor) -> None:
    """To 1e-9 of the largest value."""
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * float(other.abs().max()))

"""What was done to a network since its factory built it, where the shapes of its weights do not tell it."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from torch import nn

from espalier.errors import BadInput

_ATTRIBUTE = "_espalier_changes"


@dataclass(frozen=True)
class Changes:
    """Names of layers and weights of one network.

    Attributes:
        removed: Layers that are gone; `nn.Identity` stands in their places.
        zeros: Weights of which single numbers were pruned: what is zero in them stays zero.
        shared: Weights with a codebook: numbers that are equal in them stay equal.
    """

    removed: tuple[str, ...] = ()
    zeros: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, content: dict[str, list[str]]) -> Self:
        """Read what `dataclasses.asdict` and JSON made of it.

        Raises:
            TypeError: If a key is unknown.
        """
        return cls(**{name: tuple(names) for name, names in content.items()})


def changes_of(network: nn.Module) -> Changes:
    """What was done to a network and noted; copies of a network keep it."""
    found: Changes = getattr(network, _ATTRIBUTE, Changes())
    return found


def note(network: nn.Module, **names: Iterable[str]) -> None:
    """Add names to what is remembered of a network, under `removed`, `zeros` or `shared`."""
    former = changes_of(network)
    merged: dict[str, Any] = {
        field.name: tuple(dict.fromkeys((*getattr(former, field.name), *names.get(field.name, ()))))
        for field in fields(Changes)
    }
    setattr(network, _ATTRIBUTE, Changes(**merged))


def remember(network: nn.Module, changes: Changes) -> None:
    """Let this, and nothing else, be what is remembered of a network."""
    setattr(network, _ATTRIBUTE, changes)


def remove(network: nn.Module, names: Iterable[str]) -> None:
    """Take layers out, in place: their input becomes their output.

    Raises:
        BadInput: If the network has no layer of one of the names.
    """
    names = tuple(names)
    layers = dict(network.named_modules())
    for name in names:
        if not name or name not in layers:
            raise BadInput(
                f"A layer that is removed should be one of the network's. Found {name!r}."
            )
        network.set_submodule(name, nn.Identity())
    inside = tuple(f"{name}." for name in names)
    former = changes_of(network)
    kept = {  # what was noted of the layers inside is gone with them
        field.name: tuple(one for one in getattr(former, field.name) if not one.startswith(inside))
        for field in fields(Changes)
    }
    setattr(network, _ATTRIBUTE, Changes(**kept))
    note(network, removed=names)

"""Which outputs of its layers a cut left, so that what went can be looked at in the network that was cut."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.errors import BadInput
from espalier.pruning.dependency_groups import DependencyGroups

_ATTRIBUTE = "_espalier_survivors"


@dataclass(frozen=True)
class KeptOutputs:
    """What stayed of each layer that lost outputs: channels of a convolution, features of a linear layer.

    Attributes:
        outputs: How many there were, by the layer's name.
        kept: The indices of those that stayed, ascending, by the layer's name.
    """

    outputs: dict[str, int]
    kept: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, units: DependencyGroups, kept: NDArray[np.bool_]) -> Self:
        """What a choice among the units of a network leaves of its layers.

        Args:
            units: Of the network before the cut.
            kept: (count,) whether each unit stays.
        """
        outputs, left = {}, {}
        for work in units.works:
            layer, _, parameter = work.weight.rpartition(".")
            unit = units.where[work.weight][work.rows]
            stays = (unit < 0) | kept[unit]
            if parameter == "weight" and not stays.all():
                outputs[layer] = len(stays)
                left[layer] = tuple(np.flatnonzero(stays).tolist())
        return cls(outputs, left)

    def then(self, later: "KeptOutputs") -> "KeptOutputs":
        """This cut, and another one of what it left, as one."""
        outputs = later.outputs | self.outputs
        kept = {}
        for name, width in outputs.items():
            first = self.kept.get(name, tuple(range(width)))
            kept[name] = tuple(first[index] for index in later.kept.get(name, range(len(first))))
        return KeptOutputs(outputs, kept)

    def as_json(self) -> dict[str, Any]:
        """The content of `cut.json`."""
        return {
            name: {"outputs": width, "kept": list(self.kept[name])}
            for name, width in self.outputs.items()
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the content of `cut.json` back.

        Raises:
            BadInput: If it is something else.
        """
        try:
            outputs = {name: int(layer["outputs"]) for name, layer in content.items()}
            return cls(
                outputs, {name: tuple(map(int, layer["kept"])) for name, layer in content.items()}
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"The record of a cut should hold `outputs` and `kept` of layers. Found {error!r}."
            ) from None


def note_kept_outputs(network: nn.Module, survivors: KeptOutputs) -> None:
    """Remember in a network what the cut that made it has left."""
    setattr(network, _ATTRIBUTE, survivors)


def kept_outputs_of(network: nn.Module) -> KeptOutputs | None:
    """What the last cut of outputs has left of a network, which was not saved since; nothing if there was none."""
    return getattr(network, _ATTRIBUTE, None)

"""Kept outputs: the outputs of each layer that a cut has left, to look up the removed ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier import files
from espalier.errors import BadInput
from espalier.pruning.groups.dependency_groups import DependencyGroups
from espalier.pruning.groups.groups import stay_with
from espalier.reading import naming

_ATTRIBUTE = "_espalier_kept_outputs"


@dataclass(frozen=True)
class KeptOutputs:
    """The kept outputs of each layer that lost some: channels, or features of a linear layer.

    Attributes:
        outputs: former number of outputs, by the layer's name.
        kept: ascending indices of the kept outputs, by the layer's name.
    """

    outputs: dict[str, int]
    kept: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, groups: DependencyGroups, kept: NDArray[np.bool_]) -> Self:
        """The kept outputs after a choice among the groups of a network.

        Args:
            groups: dependency groups of the network before the cut.
            kept: (count,) whether each group stays.
        """
        outputs, remaining = {}, {}
        for layer in groups.compute_layers:
            group = groups.where[layer.weight][layer.rows]
            stays = stay_with(group, kept)
            if layer.weight.endswith(".weight") and not stays.all():
                outputs[layer.name] = len(stays)
                remaining[layer.name] = tuple(np.flatnonzero(stays).tolist())
        return cls(outputs, remaining)

    def then(self, later: "KeptOutputs") -> "KeptOutputs":
        """This cut and a later one as a single cut.

        Example:
            Of 4 outputs (0, 2, 3) stay; of these a later cut keeps (1, 2): together (2, 3).
        """
        outputs = later.outputs | self.outputs
        kept = {}
        for name, width in outputs.items():
            first = self.kept.get(name, tuple(range(width)))
            second = later.kept.get(name, range(len(first)))
            kept[name] = tuple(first[index] for index in second)
        return KeptOutputs(outputs, kept)

    def as_json(self) -> dict[str, Any]:
        """The content of `cut.json`."""
        return {
            name: {"outputs": width, "kept": list(self.kept[name])}
            for name, width in self.outputs.items()
        }

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a `cut.json`.

        Raises:
            BadInput: if it is missing or something else; the message has the file.
        """
        with naming(path):
            return cls.from_json(files.read_json_object(path))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the content of `cut.json`.

        Raises:
            BadInput: if it is something else.
        """
        try:
            outputs = {name: int(layer["outputs"]) for name, layer in content.items()}
            kept = {name: tuple(map(int, layer["kept"])) for name, layer in content.items()}
            if any(not 0 <= one < outputs[name] for name in kept for one in kept[name]):
                raise ValueError("an index of no output")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInput(
                f"Expected `outputs` and `kept` of layers in the record of a cut; found {error!r}."
            ) from None
        return cls(outputs, kept)


def record_kept_outputs(network: nn.Module, kept_outputs: KeptOutputs) -> None:
    """Attach the kept outputs to the network that a cut has made."""
    setattr(network, _ATTRIBUTE, kept_outputs)


def kept_outputs_of(network: nn.Module) -> KeptOutputs | None:
    """The kept outputs of the cut that made a network in this process; None without such a cut."""
    return getattr(network, _ATTRIBUTE, None)

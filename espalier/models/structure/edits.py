"""Typed edits of a network, each applied to a freshly built one and written as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import nn

from espalier.errors import BadInput
from espalier.models.attention import attention_heads, set_attention_heads
from espalier.models.structure.layer_specs import LayerSpec, build_layer
from espalier.models.structure.resizing import (
    CONVOLUTIONS,
    convolution_groups,
    refresh_sizes,
    replace_tensor,
)
from espalier.models.structure.spelling import Respeller, Spelling


class Edit(Protocol):
    """One change of a network.

    Attributes:
        kind: Name of the edit in JSON.
    """

    kind: ClassVar[str]

    def apply(self, network: nn.Module) -> None:
        """Change a network in place.

        Raises:
            BadInput: If the network does not have the layers that are changed.
        """

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the fields from JSON values.

        Raises:
            KeyError: If a key is missing.
            TypeError: If a key is unknown.
        """


@dataclass(frozen=True)
class Removed:
    """Layers replaced by `nn.Identity`: their input becomes their output.

    Attributes:
        layers: Names of the layers, in the order in which they were removed.
    """

    kind: ClassVar[str] = "removed"
    layers: tuple[str, ...]

    def apply(self, network: nn.Module) -> None:
        """Remove the layers, in place.

        Raises:
            BadInput: If the network has no layer of one of the names.
        """
        for name in self.layers:
            _check_layer(network, name)
            network.set_submodule(name, nn.Identity())

    def as_json(self) -> dict[str, Any]:
        """The names as a list."""
        return {"layers": list(self.layers)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the names."""
        return cls(tuple(_only(content, "layers")))


@dataclass(frozen=True)
class Replaced:
    """A layer replaced by a composition of layers.

    Attributes:
        layer: Name of the layer.
        by: Description of the composition; its sizes are those of the time of the edit.
    """

    kind: ClassVar[str] = "replaced"
    layer: str
    by: LayerSpec

    def apply(self, network: nn.Module) -> None:
        """Replace the layer, in place, by a new composition on torch's default device.

        Raises:
            BadInput: If the network has no layer of the name.
        """
        _check_layer(network, self.layer)
        network.set_submodule(self.layer, build_layer(self.by))

    def as_json(self) -> dict[str, Any]:
        """The name and the description."""
        return {"layer": self.layer, "by": self.by.as_json()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the name and the description."""
        layer, by = content["layer"], LayerSpec.from_json(content["by"])
        return cls(**{**content, "layer": layer, "by": by})


@dataclass(frozen=True)
class Respelled:
    """Sizes that forward passes spell, replaced while they run.

    Attributes:
        sizes: The replacements, which take place at once.
    """

    kind: ClassVar[str] = "respelled"
    sizes: tuple[Spelling, ...]

    def apply(self, network: nn.Module) -> None:
        """Replace the sizes in all later forward passes of the layers.

        Raises:
            BadInput: If the network has no layer of one of the names.
        """
        for name in dict.fromkeys(one.layer for one in self.sizes):
            if name:
                _check_layer(network, name)
            own = [one for one in self.sizes if one.layer == name]
            Respeller.of(network.get_submodule(name)).add(own)

    def as_json(self) -> dict[str, Any]:
        """The replacements as a list of objects."""
        return {"sizes": [asdict(one) for one in self.sizes]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the replacements."""
        sizes = []
        for one in content["sizes"]:
            operand = tuple((dim, size) for dim, size in one["operand"])
            sizes.append(Spelling(**{**one, "operand": operand}))
        return cls(**{**content, "sizes": tuple(sizes)})


@dataclass(frozen=True)
class Narrowed:
    """Shapes of all parameters and buffers, and sizes that the shapes do not determine.

    A bias is added where a layer has a place for one, but its factory left it out.

    Attributes:
        shapes: Shape of every entry of the state dict, by its name.
        groups: Number of groups of convolutions, by the layer's name.
        heads: Number of heads of attention layers, by the layer's name.
    """

    kind: ClassVar[str] = "narrowed"
    shapes: Mapping[str, Sequence[int]]
    groups: Mapping[str, int] = field(default_factory=dict)
    heads: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, network: nn.Module) -> Self:
        """The sizes that a network has now."""
        shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
        return cls(shapes, convolution_groups(network), attention_heads(network))

    def apply(self, network: nn.Module) -> None:
        """Give every tensor its shape, in place; changed ones have undefined values.

        Raises:
            BadInput: If the network has other entries, or one of another number of dimensions.
        """
        set_attention_heads(network, self.heads)
        for name, shape in self.shapes.items():
            _add_if_absent(network, name, shape)
        self._resize(network)
        for name, module in network.named_modules():
            if isinstance(module, CONVOLUTIONS) and name in self.groups:
                module.groups = self.groups[name]
            refresh_sizes(module)

    def _resize(self, network: nn.Module) -> None:
        found = network.state_dict()
        added = [name for name in self.shapes if name not in found]
        missing = [name for name in found if name not in self.shapes]
        if added or missing:
            difference = f"{added[0]} in addition" if added else f"no {missing[0]}"
            raise BadInput(
                "Expected the layers that the factory and the recorded edits build; found "
                f"{difference}."
            )
        for name, shape in self.shapes.items():
            value = found[name]
            if value.ndim != len(shape):
                raise BadInput(
                    f"Expected {value.ndim} dimensions of {name}; found the recorded shape "
                    f"{list(shape)}."
                )
            if list(value.shape) != list(shape):
                empty = torch.empty(tuple(shape), dtype=value.dtype, device=value.device)
                replace_tensor(network, name, empty)

    def as_json(self) -> dict[str, Any]:
        """The fields as objects."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the fields."""
        return cls(**content)


@dataclass(frozen=True)
class _Constrained:
    """Weights whose values obey a constraint in every training; their shapes do not change.

    Attributes:
        weights: Names of the parameters.
    """

    weights: tuple[str, ...]

    def apply(self, network: nn.Module) -> None:
        """Check that the network has the weights, whose values are loaded later.

        Raises:
            BadInput: If it lacks one.
        """
        _check_weights(network, self.weights)

    def as_json(self) -> dict[str, Any]:
        """The names as a list."""
        return {"weights": list(self.weights)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the names."""
        return cls(tuple(_only(content, "weights")))


@dataclass(frozen=True)
class Masked(_Constrained):
    """Weights with pruned elements: zeros stay zero."""

    kind: ClassVar[str] = "masked"


@dataclass(frozen=True)
class Shared(_Constrained):
    """Weights with a codebook: equal elements stay equal."""

    kind: ClassVar[str] = "shared"


EDITS: dict[str, type[Edit]] = {
    kind.kind: kind for kind in (Removed, Replaced, Respelled, Narrowed, Masked, Shared)
}


def edit_to_json(edit: Edit) -> dict[str, Any]:
    """An edit as a JSON object whose key `edit` names its kind."""
    return {"edit": edit.kind, **edit.as_json()}


def edit_from_json(content: dict[str, Any]) -> Edit:
    """The edit of a JSON object.

    Raises:
        BadInput: If its kind is unknown.
        KeyError: If a key is missing.
        TypeError: If a key is unknown.
    """
    fields = dict(content)
    kind = fields.pop("edit")
    if kind not in EDITS:
        raise BadInput(f"Expected an edit among {', '.join(EDITS)}; found {kind!r}.")
    return EDITS[kind].from_json(fields)


def _only(content: dict[str, Any], key: str) -> list[str]:
    unknown = set(content) - {key}
    if unknown:
        raise TypeError(f"unexpected key {min(unknown)!r}")
    names: list[str] = content[key]
    return names


def _check_layer(network: nn.Module, name: str) -> None:
    layers = dict(network.named_modules(remove_duplicate=False))
    if not name or name not in layers:
        raise BadInput(f"Expected the name of a layer of the network; found {name!r}.")


def _check_weights(network: nn.Module, names: Sequence[str]) -> None:
    parameters = dict(network.named_parameters(remove_duplicate=False))
    unknown = [name for name in names if name not in parameters]
    if unknown:
        raise BadInput(f"Expected the name of a weight of the network; found {unknown[0]!r}.")


def _add_if_absent(network: nn.Module, name: str, shape: Sequence[int]) -> None:
    """Add a parameter for which a layer has a place, but that its factory left out: a bias."""
    owner, _, attribute = name.rpartition(".")
    try:
        layer = network.get_submodule(owner)
    except AttributeError:
        return
    has_place = attribute in layer._parameters
    if has_place and layer._parameters[attribute] is None:
        device = next((value.device for value in layer.parameters(recurse=False)), None)
        setattr(layer, attribute, nn.Parameter(torch.empty(tuple(shape), device=device)))

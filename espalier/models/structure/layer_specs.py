"""Descriptions of layers of torch, from which they are built again without code or pickle."""

from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import nn

from espalier.errors import BadInput

_CONVOLUTION = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "bias",
    "padding_mode",
)
_BATCH_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode")

# arguments of the constructor of each kind of layer, which are also its attributes
_ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.Conv1d: _CONVOLUTION,
    nn.Conv2d: _CONVOLUTION,
    nn.Conv3d: _CONVOLUTION,
    nn.BatchNorm1d: _BATCH_NORM,
    nn.BatchNorm2d: _BATCH_NORM,
    nn.BatchNorm3d: _BATCH_NORM,
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine", "bias"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.PReLU: ("num_parameters",),
    nn.ReLU: ("inplace",),
    nn.ReLU6: ("inplace",),
    nn.SiLU: ("inplace",),
    nn.Hardswish: ("inplace",),
    nn.LeakyReLU: ("negative_slope", "inplace"),
    nn.GELU: ("approximate",),
    nn.Sigmoid: (),
    nn.Tanh: (),
    nn.Dropout: ("p", "inplace"),
    nn.MaxPool2d: (*_POOL, "dilation"),
    nn.AvgPool2d: (*_POOL, "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.Identity: (),
    nn.Sequential: (),
}
# arguments that follow from the tensors, or matter in training alone
_NO_SETTINGS = frozenset(
    {
        *("in_channels", "out_channels", "num_features", "in_features", "out_features"),
        *("normalized_shape", "num_channels", "num_parameters", "bias", "affine"),
        *("elementwise_affine", "inplace", "momentum", "p"),
    }
)
KINDS = {kind.__name__: kind for kind in _ARGUMENTS}


@dataclass(frozen=True)
class LayerSpec:
    """Description of a layer.

    Attributes:
        kind: Name of its class in `torch.nn`, one of `KINDS`.
        arguments: Arguments of its constructor.
        layers: Layers of a `Sequential`, in their order.
    """

    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    layers: tuple["LayerSpec", ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The description as a JSON object."""
        content: dict[str, Any] = {"kind": self.kind, "arguments": self.arguments}
        if self.layers:
            content["layers"] = [layer.as_json() for layer in self.layers]
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read a JSON object.

        Raises:
            BadInput: If the kind is unknown.
            KeyError: If a key is missing.
        """
        if content["kind"] not in KINDS:
            raise BadInput(
                f"Expected a kind of layer among {', '.join(KINDS)}; found {content['kind']!r}."
            )
        arguments = {name: _immutable(value) for name, value in content["arguments"].items()}
        layers = tuple(cls.from_json(layer) for layer in content.get("layers", []))
        return cls(content["kind"], arguments, layers)


def describe_layer(layer: nn.Module) -> LayerSpec:
    """The description of a layer, without its weights.

    Raises:
        BadInput: If the layer, or one inside, is of a class that has no description.
    """
    kind = type(layer)
    if kind not in _ARGUMENTS:
        raise BadInput(
            f"Expected a layer of torch.nn among {', '.join(KINDS)}; found a {kind.__name__}. "
            "Compose it of these, or write a factory for the whole network."
        )
    arguments = {name: _argument(layer, name) for name in _ARGUMENTS[kind]}
    layers = tuple(describe_layer(child) for child in layer.children())
    return LayerSpec(kind.__name__, arguments, layers)


def settings_of(layer: nn.Module) -> dict[str, Any]:
    """The arguments of a layer that its outputs depend on beside its tensors, by name.

    A subclass has those of the class; a layer without a description has none.
    """
    kind = next((kind for kind in type(layer).__mro__ if kind in _ARGUMENTS), nn.Identity)
    names = [name for name in _ARGUMENTS[kind] if name not in _NO_SETTINGS]
    return {name: _argument(layer, name) for name in names}


def build_layer(spec: LayerSpec) -> nn.Module:
    """A new layer; its weights are always the same, and nothing is drawn from torch's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _build(spec)


def _build(spec: LayerSpec) -> nn.Module:
    if spec.kind == nn.Sequential.__name__:
        return nn.Sequential(*(_build(layer) for layer in spec.layers))
    return KINDS[spec.kind](**spec.arguments)


def _argument(layer: nn.Module, name: str) -> Any:
    value = getattr(layer, name)
    if name == "bias":  # the attribute is the tensor, the argument says whether there is one
        return value is not None
    return _immutable(value)


def _immutable(value: Any) -> Any:
    """JSON's lists as tuples, so that descriptions compare equal after a round trip."""
    return tuple(_immutable(one) for one in value) if isinstance(value, list | tuple) else value

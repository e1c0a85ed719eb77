"""Fitting the layers of a freshly built network to recorded shapes."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from espalier.errors import BadInput
from espalier.models.attention import set_heads
from espalier.models.changes import Changes, note, remove

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fit(
    network: nn.Module,
    shapes: Mapping[str, Sequence[int]],
    groups: Mapping[str, int] | None = None,
    changes: Changes | None = None,
    heads: Mapping[str, int] | None = None,
) -> None:
    """Give every parameter and buffer its recorded shape, in place, and the layers the sizes that follow from it.

    Layers that were removed are removed, and biases that a layer was given since are added.

    The values of what changes are left undefined: weights are to be loaded next.

    Args:
        network: A network as its factory builds it.
        shapes: The shape of every entry of the state dict, by its name.
        groups: What `groups_of` said of the network that is to be had again.
        changes: What `changes_of` said of it.
        heads: What `heads_of` said of it.

    Raises:
        BadInput: If the network has other entries, or one of another number of dimensions.
    """
    if changes:
        remove(network, changes.removed)
        note(network, zeros=changes.zeros, shared=changes.shared)
    set_heads(network, heads or {})
    for name, shape in shapes.items():
        _add_if_absent(network, name, shape)
    found = network.state_dict()
    if set(found) != set(shapes):
        differing = sorted(set(found) ^ set(shapes))
        raise BadInput(
            f"The recorded layers should be those of the factory. Found a difference at {differing[0]!r}."
        )
    for name, shape in shapes.items():
        value = found[name]
        if value.ndim != len(shape):
            raise BadInput(
                f"{name} should have {value.ndim} dimensions. Found the recorded shape {list(shape)}."
            )
        if list(value.shape) != list(shape):
            resize(network, name, torch.empty(tuple(shape), dtype=value.dtype, device=value.device))
    for name, module in network.named_modules():
        if isinstance(module, _CONVOLUTIONS) and name in (groups or {}):
            module.groups = (groups or {})[name]
        refresh(module)


def _add_if_absent(network: nn.Module, name: str, shape: Sequence[int]) -> None:
    """Give a layer a parameter for which it has a place, but that its factory left out: a bias."""
    owner, _, attribute = name.rpartition(".")
    try:
        layer = network.get_submodule(owner)
    except AttributeError:
        return
    if layer._parameters.get(attribute, ...) is None:
        setattr(layer, attribute, nn.Parameter(torch.empty(tuple(shape))))


def groups_of(network: nn.Module) -> dict[str, int]:
    """The groups of all convolutions that have or may have had some, by name."""
    layers = [
        (name, layer) for name, layer in network.named_modules() if isinstance(layer, _CONVOLUTIONS)
    ]
    return {
        name: layer.groups
        for name, layer in layers
        if layer.groups > 1 or layer.weight.shape[1] == 1
    }


def resize(network: nn.Module, name: str, value: torch.Tensor) -> None:
    """Put `value` in the place of a parameter or buffer, in every layer that holds it."""
    owner, _, attribute = name.rpartition(".")
    former = getattr(network.get_submodule(owner), attribute)
    if isinstance(former, nn.Parameter):
        value = nn.Parameter(value, requires_grad=former.requires_grad)
    for module in network.modules():
        for attribute, held in (
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ):
            if held is former:
                setattr(module, attribute, value)


def refresh(module: nn.Module) -> None:
    """Let a layer's recorded sizes follow from the shapes of its weights."""
    if isinstance(module, _CONVOLUTIONS):
        # a depthwise filter sees one channel, so its groups shrink with the channels; other groups keep their number
        if (
            module.groups > 1
            and module.weight.shape[1] == 1
            and module.groups == module.in_channels
        ):
            ratio = max(1, module.out_channels // module.in_channels)
            module.groups = module.weight.shape[0] // ratio
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, _TRANSPOSED):
        module.in_channels, module.out_channels = (
            module.weight.shape[0],
            module.weight.shape[1] * module.groups,
        )
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(token := getattr(module, "class_token", None), nn.Parameter) and hasattr(
        module, "hidden_dim"
    ):
        setattr(module, "hidden_dim", token.shape[-1])  # noqa: B010  # torchvision's vision transformers spell it
    elif getattr(module, "weight", None) is not None:
        _refresh_norm(module)


def _refresh_norm(module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.num_features = len(module.weight)
    elif isinstance(module, nn.GroupNorm):  # groups go as a whole, unless there is but one
        if module.num_groups > 1:
            module.num_groups = len(module.weight) // (module.num_channels // module.num_groups)
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(module.weight.shape)

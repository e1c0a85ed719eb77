"""Tensors of another shape in a network, and the sizes of layers that follow from them."""

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def replace_tensor(network: nn.Module, name: str, value: torch.Tensor) -> None:
    """Replace a parameter or buffer, in every layer that holds it.

    Args:
        network: Changed in place.
        name: Name of the tensor in the state dict.
        value: New tensor of any shape; a parameter becomes a parameter, trained or not as before.
    """
    owner, _, attribute = name.rpartition(".")
    former = getattr(network.get_submodule(owner), attribute)
    if isinstance(former, nn.Parameter):
        value = nn.Parameter(value, requires_grad=former.requires_grad)
    for module in network.modules():
        parameters = list(module.named_parameters(recurse=False))
        buffers = list(module.named_buffers(recurse=False))
        for attribute, held in [*parameters, *buffers]:
            if held is former:
                setattr(module, attribute, value)


def convolution_groups(network: nn.Module) -> dict[str, int]:
    """Number of groups of each convolution that is grouped, or was before pruning, by its name.

    The shapes of the weights do not determine it: (8, 1, 3, 3) is a depthwise convolution of 8
    channels and an ordinary one of a single input channel.
    """
    groups = {}
    for name, layer in network.named_modules():
        if not isinstance(layer, CONVOLUTIONS):
            continue
        if layer.groups > 1 or layer.weight.shape[1] == 1:
            groups[name] = layer.groups
    return groups


def refresh_sizes(module: nn.Module) -> None:
    """Set the sizes that a layer keeps (`in_channels`, `num_features`, ...) from its weights."""
    token = getattr(module, "class_token", None)
    if isinstance(module, CONVOLUTIONS):
        _refresh_convolution(module)
    elif isinstance(module, _TRANSPOSED):
        module.in_channels = module.weight.shape[0]
        module.out_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Embedding | nn.RNNBase):
        _refresh_sequence_layer(module)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif hasattr(module, "hidden_dim") and isinstance(token, nn.Parameter):
        # torchvision's vision transformers assert that their input is `hidden_dim` wide
        setattr(module, "hidden_dim", token.shape[-1])  # noqa: B010  # mypy takes it for a Tensor
    elif getattr(module, "weight", None) is not None:
        _refresh_norm(module)


def _refresh_convolution(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
    one_input_each = module.groups > 1 and module.weight.shape[1] == 1
    if one_input_each and module.groups == module.in_channels:
        # depthwise: the number of groups shrinks with the channels; otherwise it is constant
        filters_per_channel = max(1, module.out_channels // module.in_channels)
        module.groups = module.weight.shape[0] // filters_per_channel
    module.out_channels = module.weight.shape[0]
    module.in_channels = module.weight.shape[1] * module.groups


def _refresh_sequence_layer(module: nn.Embedding | nn.RNNBase) -> None:
    if isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = module.weight.shape
        return
    inputs = getattr(module, "weight_ih_l0")  # noqa: B009  # mypy takes it for a module
    states = getattr(module, "weight_hh_l0")  # noqa: B009
    module.input_size = inputs.shape[1]
    if not module.proj_size:
        module.hidden_size = states.shape[1]


def _refresh_norm(module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase):
        module.num_features = len(module.weight)
    elif isinstance(module, nn.GroupNorm):
        if module.num_groups > 1:  # groups are pruned as a whole, so their width is constant
            width = module.num_channels // module.num_groups
            module.num_groups = len(module.weight) // width
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(module.weight.shape)

"""Networks rebuilt from their architecture, and the proof before saving that this will succeed."""

from collections.abc import Collection

import torch
from torch import nn

from espalier.errors import BadInput
from espalier.models.architecture import Architecture
from espalier.models.build import build
from espalier.models.structure import apply_edits, settings_of
from espalier.models.without_memory import without_memory

_WAY_OUT = (
    "Change layers with `remove` and `replace_layer` of espalier.models.structure, which record "
    "the change, or "
    "write a factory that builds the network as it is"
)


def build_unedited(
    architecture: Architecture, trusted: Collection[str] = (), seed: int = 0
) -> nn.Module:
    """The network as the factory of an architecture builds it, with the same weights for a seed.

    The state of torch's generator is the same afterwards.

    Raises:
        BadInput: If the factory is unknown or not trusted.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(
            architecture.factory,
            classes=architecture.classes,
            shape=architecture.shape,
            arguments=architecture.arguments,
            trusted=trusted,
        )


def rebuild(architecture: Architecture, trusted: Collection[str] = (), seed: int = 0) -> nn.Module:
    """The network of an architecture, with all edits; its weights are to be loaded next.

    Raises:
        BadInput: If the factory is unknown or not trusted, or an edit does not apply.
    """
    network = build_unedited(architecture, trusted, seed)
    apply_edits(network, architecture.edits)
    return network


def package_of(factory: str) -> str:
    """The package that a factory is in, which is trusted where its network is at hand already."""
    return factory.partition(":")[0].partition(".")[0]


def check_rebuildable(network: nn.Module, architecture: Architecture) -> None:
    """Prove that a saved network can be loaded: rebuild it without weights and compare.

    The rebuilding takes place on torch's meta device, where tensors have shapes and no memory;
    factories that compute with values, which are not there, build an ordinary network.

    Args:
        network: The network that is to be saved.
        architecture: architecture of the network, from `architecture_of`.

    Raises:
        BadInput: If the rebuilt network has other tensors or layers than this one; one sentence
            names the first.
    """
    rebuilt = _skeleton(architecture)
    difference = (
        _tensor_difference(network, rebuilt)
        or _layer_difference(network, rebuilt)
        or _tie_difference(network, rebuilt)
    )
    if difference:
        raise BadInput(f"{_expectation(architecture)}; found {difference}. {_WAY_OUT}.")


def _skeleton(architecture: Architecture) -> nn.Module:
    trusted = (package_of(architecture.factory),)
    try:
        try:
            with without_memory():
                return rebuild(architecture, trusted)
        except BadInput:
            raise
        except Exception:  # whatever a factory does with values that the meta device does not have
            return rebuild(architecture, trusted)
    except BadInput as error:
        raise BadInput(f"{error} {_WAY_OUT}.") from error


def _expectation(architecture: Architecture) -> str:
    return f"Expected the layers that {architecture.factory} and the recorded edits build"


def _tensor_difference(network: nn.Module, rebuilt: nn.Module) -> str:
    """The first tensor that is missing or has another shape or type; empty if there is none."""
    present, expected = network.state_dict(), rebuilt.state_dict()
    for name, value in present.items():
        if name not in expected:
            return f"{name}, which the rebuilt network lacks"
        other = expected[name]
        if other.shape != value.shape:
            return f"{name} of shape {list(value.shape)} instead of {list(other.shape)}"
        if other.dtype != value.dtype:
            return f"{name} of {value.dtype} instead of {other.dtype}"
    missing = [name for name in expected if name not in present]
    return f"no {missing[0]}, which the rebuilt network has" if missing else ""


def _layer_difference(network: nn.Module, rebuilt: nn.Module) -> str:
    """The first layer of another class or other settings; empty if there is none."""
    layers = dict(network.named_modules())
    for name, expected in rebuilt.named_modules():
        layer = layers.get(name)
        if layer is None or _class_name(layer) != _class_name(expected):
            found = "nothing" if layer is None else f"a {type(layer).__name__}"
            return f"{found} at {name!r} instead of a {type(expected).__name__}"
        wanted = settings_of(expected)
        for setting, value in settings_of(layer).items():
            if value != wanted[setting]:
                return f"{name} with `{setting} = {value}` instead of {wanted[setting]}"
    return ""


def _class_name(layer: nn.Module) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _tie_difference(network: nn.Module, rebuilt: nn.Module) -> str:
    """The first two tensors that are one in the rebuilt network; empty if there are none."""
    state = network.state_dict(keep_vars=True)
    first_name: dict[int, str] = {}
    for name, value in rebuilt.state_dict(keep_vars=True).items():
        first = first_name.setdefault(id(value), name)
        if state[first] is not state[name] and not torch.equal(state[first], state[name]):
            return f"different values of {first} and {name}, which are one tensor in the rebuilt network"
    return ""

"""Weights put into a network, every difference named."""

from collections.abc import Mapping

from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.trained.reading import Weights

_SHOWN = 4  # names of one kind in a message
_COUNTER = (
    "num_batches_tracked"  # of batch norms: written since torch 0.4.1, used by no forward pass
)

_TRAINING_HEADS = ("aux1", "aux2", "AuxLogits")  # of torchvision's GoogLeNet and Inception


def fit_weights(network: nn.Module, weights: Weights, *, new_head: bool = False) -> tuple[str, ...]:
    """Load weights into a network in place, exactly: every tensor is used, and none is left as it was.

    Args:
        network: network that the weights belong to.
        weights: weights.
        new_head: whether the last layer may be left as it is, with its random weights, because it
            has another number of outputs than the weights.

    Returns:
        Sentences about what was left out.

    Raises:
        BadInput: if a tensor is missing, unexpected, or of another shape; the message names them
            with their shapes. The network is unchanged.
    """
    expected = network.state_dict()
    given = _fitting_prefix(dict(weights.tensors), expected)
    left_out = _training_heads(network, given)
    given = {name: value for name, value in given.items() if _root(name) not in left_out}
    head = _misfitting_head(given, expected) if new_head else ()
    for name in head:
        given[name] = expected[name]
    for name in expected:
        if name.endswith(_COUNTER):
            given.setdefault(name, expected[name])
    _refuse_differences(given, expected)
    network.load_state_dict(given)  # which copies, and so converts to the types of the network
    return (*_about_training_heads(left_out), *_about_head(head, new_head=new_head))


def _training_heads(network: nn.Module, given: Mapping[str, Tensor]) -> list[str]:
    """Heads of the weights that served their training alone, and that the network was built without."""
    absent = [name for name in _TRAINING_HEADS if getattr(network, name, network) is None]
    roots = {_root(name) for name in given}
    return [name for name in absent if name in roots]


def _about_training_heads(left_out: list[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (f"Heads that only training uses are left out: {', '.join(left_out)}.",)


def _about_head(head: tuple[str, ...], *, new_head: bool) -> tuple[str, ...]:
    if not new_head:
        return ()
    if not head:
        return ("The head of the weights fits; `head: new` changes nothing.",)
    return (f"New random weights stay in the head: {', '.join(head)}.",)


def _root(name: str) -> str:
    """The first layer of a name such as `aux1.conv.weight`."""
    return name.partition(".")[0]


def _fitting_prefix(given: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names with a prefix that was removed although it belongs to the network."""
    if set(given) & set(expected):
        return given
    roots = {_root(name) for name in expected}
    if len(roots) == 1:
        root = roots.pop()
        return {f"{root}.{name}": tensor for name, tensor in given.items()}
    return given


def _misfitting_head(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[str, ...]:
    """The tensors of the last layer, if their first dimension differs from the weights'."""
    matrices = [name for name, value in expected.items() if value.ndim > 1]
    layer = matrices[-1].rpartition(".")[0]
    own = [name for name in expected if name.rpartition(".")[0] == layer]
    return tuple(name for name in own if _shape(given.get(name)) != _shape(expected[name]))


def _refuse_differences(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing, unexpected, misfit = [], [], []
    for name, tensor in expected.items():
        own, wanted = _shape(given.get(name)), _shape(tensor)
        if name not in given:
            missing.append(f"{name} {wanted}")
        elif own != wanted:
            misfit.append(f"{name} {own} instead of {wanted}")
    for name, tensor in given.items():
        if name not in expected:
            unexpected.append(f"{name} {_shape(tensor)}")
    if not (missing or unexpected or misfit):
        return
    found = [
        *_counted("missing", missing),
        *_counted("unexpected", unexpected),
        *_counted("of another shape", misfit),
    ]
    raise BadInput(
        f"Expected the weights to fit the network's {len(expected)} tensors; found "
        f"{'; '.join(found)}.{_way_out(misfit, missing + unexpected)}"
    )


def _counted(kind: str, names: list[str]) -> list[str]:
    """The number and the first names of a kind of difference; nothing if there are none."""
    if not names:
        return []
    return [f"{len(names)} {kind}: {_some(names)}"]


def _way_out(misfit: list[str], others: list[str]) -> str:
    if misfit and not others and len(misfit) <= 2:
        return " If they belong to a head for other classes, `head: new` replaces it."
    return " The network may be another one, or have other `arguments`."


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(map(str, tensor.shape)) or "scalar"

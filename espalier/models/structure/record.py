"""The list of edits that a network carries: copies of the network carry it along."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import nn

from espalier.models.structure.edits import (
    Edit,
    Masked,
    Removed,
    Replaced,
    Respelled,
    Shared,
)
from espalier.models.structure.layer_specs import describe_layer

_ATTRIBUTE = "_espalier_edits"


def edits_of(network: nn.Module) -> tuple[Edit, ...]:
    """The recorded edits: layers and sizes in order, then masked and shared weights.

    `Narrowed` is not among them: `Narrowed.of` reads the sizes off the network.
    """
    edits: tuple[Edit, ...] = getattr(network, _ATTRIBUTE, ())
    return edits


def record(network: nn.Module, edit: Edit) -> None:
    """Add an edit, which was applied to a network, to its list.

    Edits of layers inside a removed or replaced layer are dropped. Consecutive removals become one
    edit, and so do all masks and all shared weights: after `Masked(("a",))` and `Masked(("b",))`
    the list is `[Masked(("a", "b"))]`.
    """
    former = edits_of(network)
    if isinstance(edit, Removed):
        kept = _outside(former, edit.layers)
        _store(network, _with_removed(kept, edit.layers))
    elif isinstance(edit, Replaced):
        kept = _outside(former, [edit.layer])
        _store(network, [*kept, edit])
    elif isinstance(edit, Respelled):
        _store(network, [*former, edit])
    elif isinstance(edit, Masked):
        set_masked_weights(network, [*masked_weights(network), *edit.weights])
    elif isinstance(edit, Shared):
        set_shared_weights(network, [*shared_weights(network), *edit.weights])


def apply_edits(network: nn.Module, edits: Iterable[Edit]) -> None:
    """Apply edits in their order, in place, and record them.

    Raises:
        BadInput: If the network does not have the layers that are changed.
    """
    for edit in edits:
        edit.apply(network)
        record(network, edit)


def remove(network: nn.Module, names: Iterable[str]) -> None:
    """Remove layers, in place: their input becomes their output.

    Raises:
        BadInput: If the network has no layer of one of the names.
    """
    names = tuple(names)
    if names:
        apply_edits(network, [Removed(names)])


def replace_layer(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Replace a layer by another one, weights included, in place, and record it for `load`.

    Args:
        network: Changed in place.
        name: Name of the layer that goes.
        layer: Layer of torch, or an `nn.Sequential` of such layers.

    Raises:
        BadInput: If the network has no such layer, or the new one has no description.
    """
    edit = Replaced(name, describe_layer(layer))
    edit.apply(network)  # checks the name
    network.set_submodule(name, layer)
    record(network, edit)


def removed_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that were removed."""
    names: list[str] = []
    for edit in edits_of(network):
        if isinstance(edit, Removed):
            names += edit.layers
    return tuple(names)


def masked_weights(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights whose zeros stay zero."""
    for edit in edits_of(network):
        if isinstance(edit, Masked):
            return edit.weights
    return ()


def shared_weights(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights whose equal elements stay equal."""
    for edit in edits_of(network):
        if isinstance(edit, Shared):
            return edit.weights
    return ()


def set_masked_weights(network: nn.Module, names: Iterable[str]) -> None:
    """Record these weights, and no others, as masked."""
    others = [edit for edit in edits_of(network) if not isinstance(edit, Masked)]
    mask = Masked(_distinct(names))
    _store(network, [*others, mask])


def set_shared_weights(network: nn.Module, names: Iterable[str]) -> None:
    """Record these weights, and no others, as shared."""
    others = [edit for edit in edits_of(network) if not isinstance(edit, Shared)]
    codebooks = Shared(_distinct(names))
    _store(network, [*others, codebooks])


def _store(network: nn.Module, edits: Iterable[Edit]) -> None:
    """Store edits without empty ones: structural ones first, then masks, then shared weights."""
    structural: list[Edit] = []
    masks: list[Edit] = []
    codebooks: list[Edit] = []
    for edit in edits:
        if _is_empty(edit):
            continue
        if isinstance(edit, Masked):
            masks.append(edit)
        elif isinstance(edit, Shared):
            codebooks.append(edit)
        else:
            structural.append(edit)
    setattr(network, _ATTRIBUTE, (*structural, *masks, *codebooks))


def _with_removed(edits: Sequence[Edit], names: tuple[str, ...]) -> list[Edit]:
    """A list of edits with one more removal, merged with a removal just before it."""
    structural: list[Edit] = []
    others: list[Edit] = []
    for edit in edits:
        is_structural = isinstance(edit, Removed | Replaced | Respelled)
        (structural if is_structural else others).append(edit)
    last = structural[-1] if structural else None
    if isinstance(last, Removed):
        structural.pop()
        names = _distinct([*last.layers, *names])
    return [*structural, Removed(names), *others]


def _outside(edits: Sequence[Edit], layers: Sequence[str]) -> list[Edit]:
    """The edits, restricted to names that are not inside one of the layers."""
    prefixes = tuple(f"{name}." for name in layers)
    kept: list[Edit] = []
    for edit in edits:
        if isinstance(edit, Removed):
            kept.append(Removed(_without_prefixes(edit.layers, prefixes)))
        elif isinstance(edit, Masked | Shared):
            kept.append(replace(edit, weights=_without_prefixes(edit.weights, prefixes)))
        elif isinstance(edit, Respelled):
            sizes = [one for one in edit.sizes if not f"{one.layer}.".startswith(prefixes)]
            kept.append(Respelled(tuple(sizes)))
        elif isinstance(edit, Replaced) and not f"{edit.layer}.".startswith(prefixes):
            kept.append(edit)
    return kept


def _without_prefixes(names: Iterable[str], prefixes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.startswith(prefixes))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _is_empty(edit: Edit) -> bool:
    if isinstance(edit, Removed):
        return not edit.layers
    if isinstance(edit, Respelled):
        return not edit.sizes
    if isinstance(edit, Masked | Shared):
        return not edit.weights
    return False

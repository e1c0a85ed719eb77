"""The list of edits that a network carries: copies of the network carry it along."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import nn

from espalier.models.structure.edits import Edit, Masked, Narrowed, Removed, Replaced, Shared
from espalier.models.structure.layer_specs import describe_layer

_ATTRIBUTE = "_espalier_edits"


def edits_of(network: nn.Module) -> tuple[Edit, ...]:
    """The recorded edits: removed and replaced layers in order, then masked and shared weights.

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
    removals = [edit for edit in edits_of(network) if isinstance(edit, Removed)]
    return tuple(name for removal in removals for name in removal.layers)


def masked_weights(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights whose zeros stay zero."""
    masks = [edit for edit in edits_of(network) if isinstance(edit, Masked)]
    return tuple(name for mask in masks for name in mask.weights)


def shared_weights(network: nn.Module) -> tuple[str, ...]:
    """Names of the weights whose equal elements stay equal."""
    codebooks = [edit for edit in edits_of(network) if isinstance(edit, Shared)]
    return tuple(name for codebook in codebooks for name in codebook.weights)


def set_masked_weights(network: nn.Module, names: Iterable[str]) -> None:
    """Record these weights, and no others, as masked."""
    others = [edit for edit in edits_of(network) if not isinstance(edit, Masked)]
    _store(network, [*others, Masked(tuple(dict.fromkeys(names)))])


def set_shared_weights(network: nn.Module, names: Iterable[str]) -> None:
    """Record these weights, and no others, as shared."""
    others = [edit for edit in edits_of(network) if not isinstance(edit, Shared)]
    _store(network, [*others, Shared(tuple(dict.fromkeys(names)))])


def _store(network: nn.Module, edits: Iterable[Edit]) -> None:
    """Store a list of edits in its canonical order, without empty and derived ones."""
    edits = [edit for edit in edits if not isinstance(edit, Narrowed) and not _is_empty(edit)]
    structural = [edit for edit in edits if isinstance(edit, Removed | Replaced)]
    masked = [edit for edit in edits if isinstance(edit, Masked)]
    shared = [edit for edit in edits if isinstance(edit, Shared)]
    setattr(network, _ATTRIBUTE, (*structural, *masked, *shared))


def _with_removed(edits: Sequence[Edit], names: tuple[str, ...]) -> list[Edit]:
    """A list of edits with one more removal, merged with a removal just before it."""
    structural = [edit for edit in edits if isinstance(edit, Removed | Replaced)]
    others = [edit for edit in edits if not isinstance(edit, Removed | Replaced)]
    last = structural[-1] if structural else None
    if isinstance(last, Removed):
        merged = tuple(dict.fromkeys((*last.layers, *names)))
        return [*structural[:-1], Removed(merged), *others]
    return [*structural, Removed(names), *others]


def _outside(edits: Sequence[Edit], layers: Sequence[str]) -> list[Edit]:
    """The edits, restricted to what is not inside one of the layers."""
    inside = tuple(f"{name}." for name in layers)
    kept: list[Edit] = []
    for edit in edits:
        if isinstance(edit, Removed):
            names = [name for name in edit.layers if not name.startswith(inside)]
            kept.append(Removed(tuple(names)))
        elif isinstance(edit, Masked | Shared):
            names = [name for name in edit.weights if not name.startswith(inside)]
            kept.append(replace(edit, weights=tuple(names)))
        elif isinstance(edit, Replaced) and not f"{edit.layer}.".startswith(inside):
            kept.append(edit)
    return kept


def _is_empty(edit: Edit) -> bool:
    if isinstance(edit, Removed):
        return not edit.layers
    return isinstance(edit, Masked | Shared) and not edit.weights

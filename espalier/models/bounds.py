"""Bounds on networks that a file describes, checked on torch's meta device before memory is allocated.

On that device tensors have shapes and no memory. A folder of 20 kB whose architecture says
`width: 2000` is compared there with the shapes of its weights, and 4.6 GB are never allocated.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from espalier.errors import BadInput, EspalierError, reason_of
from espalier.models.architecture import Architecture
from espalier.models.rebuilding import build_unedited
from espalier.models.structure import apply_edits
from espalier.models.without_memory import without_memory
from espalier.settings.limits import LAYERS

_BYTES = 4  # of most elements; others differ by a factor of two
_OWN = "espalier"  # package whose factories all work on the meta device


def check_shapes(
    architecture: Architecture,
    shapes: Mapping[str, Sequence[int]],
    trusted: Collection[str],
    limit: int,
) -> None:
    """Compare the network of an architecture with the shapes of its weights, without memory for it.

    Args:
        architecture: the architecture, from elsewhere.
        shapes: shape of each tensor of the file of weights, by name.
        trusted: packages whose functions may build the network.
        limit: largest number of bytes of the network as its factory builds it.

    Raises:
        BadInput: if a tensor is missing, superfluous or of another shape, or the network is larger.
    """
    network = _described(architecture, trusted, limit)
    if network is None:
        return
    with without_memory():
        apply_edits(network, architecture.edits)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name in [*expected, *shapes]:
        described, found = expected.get(name), shapes.get(name)
        if described is None or found is None or described != tuple(found):
            raise BadInput(
                f"Expected the weights that the architecture describes: {name} "
                f"{_spelled(described)}; found {_spelled(found)} in the file."
            )


def check_built_size(architecture: Architecture, trusted: Collection[str], limit: int) -> None:
    """Refuse a network that its factory builds with more than a number of bytes.

    Raises:
        BadInput: if it does.
    """
    _described(architecture, trusted, limit)


def refuse_large(shapes: Iterable[Sequence[int]], limit: int) -> None:
    """Refuse shapes of more than a number of bytes together.

    Raises:
        BadInput: if there are more.
    """
    size = _BYTES * sum(prod(shape) for shape in shapes)
    if size > limit:
        raise BadInput(
            f"Expected a network of at most {limit:,} bytes, {limit // 2**20} MB, from a file of "
            f"this size; found a description of {size:,}."
        )


def _described(
    architecture: Architecture, trusted: Collection[str], limit: int
) -> nn.Module | None:
    """The network as its factory builds it, without memory.

    None if the factory computes with values, which the meta device does not have; those of espalier
    do not.
    """
    try:
        with _bounded_layers(), without_memory():
            network = build_unedited(architecture, trusted)
    except EspalierError:
        raise
    except Exception as error:
        if architecture.factory.partition(":")[0] != _OWN:
            return None
        raise BadInput(
            f"Expected {architecture.factory} to build a network of the shape "
            f"{list(architecture.shape)} with {architecture.arguments}; found: {reason_of(error)}."
        ) from None
    refuse_large([value.shape for value in network.state_dict().values()], limit)
    return network


@contextmanager
def _bounded_layers() -> Iterator[None]:
    """Stop the building of a network that has too many layers."""
    count = 0

    def count_layer(parent: nn.Module, name: str, layer: nn.Module | None) -> None:
        nonlocal count
        count += 1
        if count > LAYERS:
            raise BadInput(f"Expected a network of at most {LAYERS:,} layers; found more.")

    hook = register_module_module_registration_hook(count_layer)
    try:
        yield
    finally:
        hook.remove()


def _spelled(shape: Sequence[int] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"

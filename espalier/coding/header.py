"""The header of a packed file: the recipe of the network, without shapes and weights."""

import json
import zlib
from dataclasses import dataclass
from typing import Any

from torch import nn

from espalier.errors import BadInput
from espalier.models.architecture import Architecture, check_fields
from espalier.models.attention import attention_heads
from espalier.models.structure import (
    Edit,
    Removed,
    Replaced,
    Respelled,
    convolution_groups,
    edit_from_json,
    edit_to_json,
)
from espalier.settings.limits import HEADER_BYTES

# preset dictionary of deflate: strings that many headers contain; part of the format
_KNOWN = (
    b'"torchvision:resnet{"[3,32,32]{"width":{"hidden":[{"depth":["espalier:lenet300",10,[1,28,28]'
)
_DEFAULTS: list[Any] = [{}, [], {}, {}, {}, None, [], None]  # of the fields after the shape


@dataclass(frozen=True)
class Additions:
    """Sizes that neither the factory nor the structural edits give, except shapes of built tensors.

    Attributes:
        shapes: Shapes of tensors that were added: biases.
        groups: Number of groups of convolutions, where it differs.
        heads: Number of heads of attention layers, where it differs.
    """

    shapes: dict[str, list[int]]
    groups: dict[str, int]
    heads: dict[str, int]

    @classmethod
    def between(cls, built: nn.Module, network: nn.Module) -> "Additions":
        """The sizes of a network that differ from those of a freshly built one."""
        names = built.state_dict().keys()
        state = network.state_dict()
        added = {name: list(value.shape) for name, value in state.items() if name not in names}
        groups = _differing(convolution_groups(network), convolution_groups(built))
        heads = _differing(attention_heads(network), attention_heads(built))
        return cls(added, groups, heads)


def structural_edits(architecture: Architecture) -> tuple[Edit, ...]:
    """The removed and replaced layers and sizes of an architecture, in their order."""
    kinds = (Removed, Replaced, Respelled)
    return tuple(edit for edit in architecture.edits if isinstance(edit, kinds))


def write_header(architecture: Architecture, additions: Additions) -> bytes:
    """The recipe as a compressed JSON list; empty fields at its end are left out."""
    edits = structural_edits(architecture)
    only_removed = all(isinstance(edit, Removed) for edit in edits)
    fields = [
        architecture.factory,
        architecture.classes,
        list(architecture.shape),
        architecture.arguments,
        list(architecture.removed) if only_removed else [],
        additions.shapes,
        additions.groups,
        additions.heads,
        architecture.quantization,
        [] if only_removed else [edit_to_json(edit) for edit in edits],
        architecture.preprocessing,
    ]
    while not fields[-1]:
        fields.pop()
    text = json.dumps(fields, separators=(",", ":")).encode()
    deflate = zlib.compressobj(9, wbits=-15, zdict=_KNOWN)
    return deflate.compress(text) + deflate.flush()


def read_header(content: bytes) -> tuple[Architecture, Additions]:
    """The recipe of a header; the architecture's edits are the structural ones."""
    inflate = zlib.decompressobj(wbits=-15, zdict=_KNOWN)
    text = inflate.decompress(content, HEADER_BYTES)
    if inflate.unconsumed_tail:
        raise BadInput(
            f"Expected the header of a packed file to have at most {HEADER_BYTES:,} bytes; found more."
        )
    fields = json.loads(text)
    fields += _DEFAULTS[len(fields) - 3 :]
    factory, classes, shape, arguments, removed, added, groups, heads, *others = fields
    quantization, edits, preprocessing = others
    check_fields(factory, classes, shape, arguments)
    structural = [edit_from_json(edit) for edit in edits]
    if removed:
        structural.insert(0, Removed(tuple(removed)))
    architecture = Architecture(
        factory,
        classes,
        tuple(shape),
        arguments,
        edits=tuple(structural),
        quantization=quantization,
        preprocessing=preprocessing,
    )
    return architecture, Additions(added, groups, heads)


def _differing(sizes: dict[str, int], built: dict[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if built.get(name) != size}

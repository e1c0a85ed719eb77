"""One packed file: a network, small, from which the very same weights are read back."""

import json
import zlib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from espalier import files
from espalier.coding.coder import Coder, Reader, Writer
from espalier.coding.tensors import Blob, code_tensor
from espalier.errors import BadInput
from espalier.models.architecture import Architecture, architecture_of
from espalier.models.attention import heads_of
from espalier.models.build import rebuild
from espalier.models.changes import Changes, remove
from espalier.models.fit import fit, groups_of

_MAGIC = b"esp\x01"  # the last byte is the version of the format
_CHECK = 4  # bytes of the CRC-32 at the end
_KNOWN = (
    b'"torchvision:resnet{"[3,32,32]{"width":{"hidden":[{"depth":["espalier:lenet300",10,[1,28,28]'
)


@dataclass(frozen=True)
class _Differs:
    """What a network has that its factory does not build, beside the shapes of what it does.

    Attributes:
        added: Shapes of tensors.
        groups: Of convolutions.
        heads: Of attention.
    """

    added: dict[str, list[int]]
    groups: dict[str, int]
    heads: dict[str, int]


def pack(network: nn.Module, path: str | Path) -> int:
    """Write a network into one file, without loss; what `share` made of it is what makes the file small.

    Args:
        network: One that `espalier.models.build` or `load` made.
        path: Of the file.

    Returns:
        The size of the file in bytes.

    Raises:
        BadInput: If the network does not know its architecture, or a weight is of another type than there.
    """
    content = encode(network)
    files.write(Path(path), content)
    return len(content)


def unpack(path: str | Path, *, trusted: Collection[str] = ()) -> nn.Module:
    """Read a network back: its weights equal those of the packed one, bit for bit.

    Args:
        path: What `pack` wrote.
        trusted: Packages beside espalier and torchvision whose functions may build the network.

    Returns:
        The network, on the processor, in evaluation mode.

    Raises:
        BadInput: If the file is missing, damaged, or no packed file, or the factory is unknown or not trusted.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{path} should be a packed file. Found: {error.strerror}.") from None
    return decode(content, str(path), trusted=trusted)


def encode(network: nn.Module) -> bytes:
    """The content of the packed file of a network."""
    architecture = architecture_of(network)
    bare = _build(architecture, (architecture.factory.split(":")[0].split(".")[0],))
    state = {name: value.detach() for name, value in network.state_dict().items()}
    differs = _Differs(
        added={name: list(state[name].shape) for name in state if name not in bare.state_dict()},
        groups={
            name: count
            for name, count in architecture.groups.items()
            if groups_of(bare).get(name) != count
        },
        heads={
            name: count
            for name, count in architecture.heads.items()
            if heads_of(bare).get(name) != count
        },
    )
    writer, blob = Writer(), Blob(bytearray())
    _code(writer, blob, bare, differs, architecture.changes, state)
    header = _header(architecture, differs)
    body = (
        _MAGIC
        + _number(len(header))
        + header
        + _number(len(blob.content))
        + blob.content
        + writer.content()
    )
    return body + zlib.crc32(body).to_bytes(_CHECK, "little")


def decode(content: bytes, name: str, *, trusted: Collection[str] = ()) -> nn.Module:
    """The network of a packed file's content.

    Raises:
        BadInput: If it is damaged, or no packed file; `name` says which.
    """
    body, check = content[:-_CHECK], content[-_CHECK:]
    if not content.startswith(_MAGIC):
        raise BadInput(
            f"{name} should begin with {_MAGIC!r}, as packed files do. Found {content[: len(_MAGIC)]!r}."
        )
    if zlib.crc32(body).to_bytes(_CHECK, "little") != check:
        raise BadInput(
            f"{name} should end with the checksum of its content. Found another: it is damaged or cut off."
        )
    size, place = _read_number(body, len(_MAGIC))
    architecture, differs = _read_header(body[place : place + size])
    length, place = _read_number(body, place + size)
    blob = Blob(bytearray(body[place : place + length]))
    bare = _build(architecture, trusted)
    _code(Reader(body[place + length :]), blob, bare, differs, architecture.changes, None)
    return architecture.attach(bare).eval()


def _build(architecture: Architecture, trusted: Collection[str]) -> nn.Module:
    """The network as its factory builds it, without the layers that were removed since."""
    bare = rebuild(architecture, trusted)
    remove(bare, architecture.changes.removed)
    return bare


def _code(
    coder: Coder,
    blob: Blob,
    bare: nn.Module,
    differs: _Differs,
    changes: Changes,
    state: dict[str, Tensor] | None,
) -> None:
    """Write `state`, or read it into `bare`, which becomes the network in either case."""
    built = {name: value.clone() for name, value in bare.state_dict().items()}
    shapes = _code_shapes(coder, built, state) | differs.added
    zeros = _code_names(coder, "zeros", list(shapes), changes.zeros)
    shared = _code_names(coder, "shared", list(shapes), changes.shared)
    groups, heads = groups_of(bare) | differs.groups, heads_of(bare) | differs.heads
    fit(bare, shapes, groups, Changes(changes.removed, zeros, shared), heads)
    parameters = dict(bare.named_parameters(remove_duplicate=False))
    seen: set[int] = set()
    with torch.no_grad():
        for number, (name, target) in enumerate(bare.state_dict().items()):
            if target.data_ptr() in seen and target.numel():
                continue  # the same tensor under a second name
            seen.add(target.data_ptr())
            given = None if state is None else state[name]
            if given is not None and given.dtype != target.dtype:
                raise BadInput(
                    f"{name} should be of the type that its factory gives it, {target.dtype}. Found {given.dtype}."
                )
            former = built.get(name)
            if name not in parameters and former is not None and former.shape == target.shape:
                same = given is not None and torch.equal(_as_bytes(given), _as_bytes(former))
                if coder.bit("as built", (0,), int(same)):
                    continue
            target.copy_(code_tensor(coder, blob, given, target, number))


def _as_bytes(value: Tensor) -> Tensor:
    return value.cpu().contiguous().flatten().view(torch.uint8)


def _code_shapes(
    coder: Coder, built: dict[str, Tensor], state: dict[str, Tensor] | None
) -> dict[str, list[int]]:
    """The shape of every tensor. What a size of the factory became once, it mostly became again."""
    became: dict[int, int] = {}
    shapes: dict[str, list[int]] = {}
    for name, value in built.items():
        shapes[name] = []
        for place, former in enumerate(value.shape):
            size = state[name].shape[place] if state is not None else 0
            guess = became.get(former, former)
            if coder.bit("resized", (0, former in became), int(size != guess)):
                size = (
                    coder.plain(32, size)
                    if coder.bit("large", (0,), size >> 12 > 0)
                    else coder.plain(12, size)
                )
            else:
                size = guess
            became[former] = size
            shapes[name].append(size)
    return shapes


def _code_names(
    coder: Coder, kind: str, names: list[str], chosen: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(
        name for name in names if coder.bit(kind, (0, name.rpartition(".")[2]), int(name in chosen))
    )


def _header(architecture: Architecture, differs: _Differs) -> bytes:
    """What rebuilds the network, as a JSON list; what is empty at its end is left out."""
    fields = [
        architecture.factory,
        architecture.classes,
        list(architecture.shape),
        architecture.arguments,
        list(architecture.changes.removed),
        *asdict(differs).values(),
        architecture.quantization,
    ]
    while not fields[-1]:
        fields.pop()
    text = json.dumps(fields, separators=(",", ":")).encode()
    deflate = zlib.compressobj(9, wbits=-15, zdict=_KNOWN)
    return deflate.compress(text) + deflate.flush()


def _read_header(content: bytes) -> tuple[Architecture, _Differs]:
    fields = json.loads(zlib.decompressobj(wbits=-15, zdict=_KNOWN).decompress(content))
    fields += [{}, [], {}, {}, {}, None][len(fields) - 3 :]
    factory, classes, shape, arguments, removed, added, groups, heads, quantization = fields
    architecture = Architecture(
        factory,
        classes,
        tuple(shape),
        arguments,
        changes=Changes(removed=tuple(removed)),
        quantization=quantization,
    )
    return architecture, _Differs(added, groups, heads)


def _number(value: int) -> bytes:
    """An integer in groups of seven bits, the last of which has no eighth (LEB128)."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def _read_number(content: bytes, place: int) -> tuple[int, int]:
    """The integer at a place, and the place behind it."""
    value = shift = 0
    while True:
        group = content[place]
        value |= (group & 127) << shift
        shift, place = shift + 7, place + 1
        if group < 128:
            return value, place

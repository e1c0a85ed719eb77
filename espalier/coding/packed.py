"""One packed file: a network, small, from which weights of the same bits are read back."""

import zlib
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from espalier import files
from espalier.coding.coder import Coder, Reader, Writer
from espalier.coding.header import Additions, read_header, structural_edits, write_header
from espalier.coding.tensors import Blob, code_tensor
from espalier.errors import BadInput, EspalierError, reason_of
from espalier.models.architecture import Architecture, architecture_of
from espalier.models.attention import attention_heads
from espalier.models.bounds import check_built_size, refuse_large
from espalier.models.rebuilding import build_unedited, check_rebuildable, package_of
from espalier.models.structure import (
    Masked,
    Narrowed,
    Shared,
    apply_edits,
    convolution_groups,
    masked_weights,
    shared_weights,
)
from espalier.reading import naming, refuse_special
from espalier.settings.limits import largest_network

_MAGIC = b"esp\x01"  # the last byte is the version of the format
_CHECKSUM_BYTES = 4  # the CRC-32 at the end


def pack(network: nn.Module, path: str | Path) -> int:
    """Write a network into one file, without loss; it is small if the weights have codebooks.

    Args:
        network: Network of `espalier.models.build` or `load`.
        path: Path of the file.

    Returns:
        The size of the file in bytes.

    Raises:
        BadInput: If the network has no architecture, or a weight has another type than its factory
            gives it.
    """
    content = encode(network)
    files.write(Path(path), content)
    return len(content)


def unpack(path: str | Path, *, trusted: Collection[str] = ()) -> nn.Module:
    """Read a network whose weights equal those of the packed one, bit for bit.

    Args:
        path: File that `pack` wrote.
        trusted: Packages beside espalier and torchvision whose functions may build the network.

    Returns:
        The network, on the processor, in evaluation mode.

    Raises:
        BadInput: If the file is missing, damaged or no packed file, or the factory is unknown or
            not trusted.
    """
    refuse_special(Path(path), "a packed file")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"Expected a packed file at {path}; found: {error.strerror}.") from None
    return decode(content, str(path), trusted=trusted)


def encode(network: nn.Module) -> bytes:
    """The content of the packed file of a network.

    Raises:
        BadInput: If the network has no architecture, or could not be rebuilt from it.
    """
    architecture = architecture_of(network)
    check_rebuildable(network, architecture)
    built = _build(architecture, (package_of(architecture.factory),))
    additions = Additions.between(built, network)
    names = masked_weights(network), shared_weights(network)
    state = {name: value.detach() for name, value in network.state_dict().items()}
    writer, blob = Writer(), Blob(bytearray())
    _code(writer, blob, built, additions, names, state)
    header = write_header(architecture, additions)
    body = b"".join(
        [
            _MAGIC,
            _number(len(header)),
            header,
            _number(len(blob.content)),
            blob.content,
            writer.content(),
        ]
    )
    return body + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little")


def decode(content: bytes, name: str, *, trusted: Collection[str] = ()) -> nn.Module:
    """The network of a packed file's content.

    Raises:
        BadInput: If it is damaged, or no packed file; the message has `name`, that of the file.
    """
    body, check = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if not content.startswith(_MAGIC):
        raise BadInput(
            f"Expected {name} to begin with {_MAGIC!r}, as packed files do; found "
            f"{content[: len(_MAGIC)]!r}."
        )
    if zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "little") != check:
        raise BadInput(
            f"Expected the checksum of the content at the end of {name}; found another: it is "
            "damaged or truncated."
        )
    try:
        with naming(name):
            return _decode(body, trusted)
    except (EspalierError, MemoryError):
        raise
    except Exception as error:  # a forged file breaks any step, the user's factory included
        raise BadInput(
            f"Expected {name} to hold a packed network; found content that is damaged or of another "
            f"version: {reason_of(error)}."
        ) from error


def _decode(body: bytes, trusted: Collection[str]) -> nn.Module:
    size, position = _read_number(body, len(_MAGIC))
    architecture, additions = read_header(body[position : position + size])
    length, position = _read_number(body, position + size)
    blob = Blob(bytearray(body[position : position + length]))
    limit = largest_network(len(body))
    check_built_size(architecture, trusted, limit)
    network = _build(architecture, trusted)
    reader = Reader(body[position + length :])
    _code(reader, blob, network, additions, ((), ()), None, limit)
    return architecture.attach(network).eval()


def _build(architecture: Architecture, trusted: Collection[str]) -> nn.Module:
    """The network as its factory builds it, with layers removed and replaced."""
    network = build_unedited(architecture, trusted)
    apply_edits(network, structural_edits(architecture))
    return network


def _code(
    coder: Coder,
    blob: Blob,
    network: nn.Module,
    additions: Additions,
    names: tuple[Collection[str], Collection[str]],
    state: dict[str, Tensor] | None,
    limit: int = 0,
) -> None:
    """Write a network's shapes, names and tensors, or read them.

    Args:
        coder: Entropy coder that writes or reads.
        blob: Digits of floats.
        network: Freshly built network; in either case it has the sizes and weights afterwards.
        additions: Sizes that are in the header.
        names: Names of the masked and of the shared weights; a reader ignores them.
        state: Tensors that are written; None for a reader.
        limit: largest number of bytes of the tensors that a reader makes.
    """
    built = {name: value.clone() for name, value in network.state_dict().items()}
    shapes = _code_shapes(coder, built, state) | additions.shapes
    if state is None:
        refuse_large(shapes.values(), limit)
    masked = _code_names(coder, "zeros", list(shapes), names[0])
    shared = _code_names(coder, "shared", list(shapes), names[1])
    groups = convolution_groups(network) | additions.groups
    heads = attention_heads(network) | additions.heads
    apply_edits(network, [Narrowed(shapes, groups, heads), Masked(masked), Shared(shared)])
    _code_tensors(coder, blob, network, built, state)


@torch.no_grad()
def _code_tensors(
    coder: Coder,
    blob: Blob,
    network: nn.Module,
    built: dict[str, Tensor],
    state: dict[str, Tensor] | None,
) -> None:
    """Write or read the tensors, each once, into a network of the right sizes.

    Args:
        coder: Entropy coder that writes or reads.
        blob: Digits of floats.
        network: Network whose tensors are overwritten.
        built: Tensors as the factory builds them.
        state: Tensors that are written; None for a reader.
    """
    parameters = dict(network.named_parameters(remove_duplicate=False))
    seen: set[int] = set()
    for number, (name, target) in enumerate(network.state_dict().items()):
        if target.data_ptr() in seen and target.numel():
            continue  # the same tensor under a second name
        seen.add(target.data_ptr())
        given = None if state is None else state[name]
        if given is not None and given.dtype != target.dtype:
            raise BadInput(
                f"Expected {name} in the type of its factory, {target.dtype}; found {given.dtype}."
            )
        if name not in parameters and _code_is_as_built(coder, given, built.get(name), target):
            continue
        target.copy_(code_tensor(coder, blob, given, target, number))


def _code_is_as_built(
    coder: Coder, given: Tensor | None, former: Tensor | None, target: Tensor
) -> bool:
    """Write or read whether a buffer has the factory's value; False where its shape changed."""
    if former is None or former.shape != target.shape:
        return False
    is_equal = given is not None and torch.equal(_as_bytes(given), _as_bytes(former))
    return bool(coder.bit("as built", (0,), int(is_equal)))


def _as_bytes(value: Tensor) -> Tensor:
    return value.cpu().contiguous().flatten().view(torch.uint8)


def _code_shapes(
    coder: Coder, built: dict[str, Tensor], state: dict[str, Tensor] | None
) -> dict[str, list[int]]:
    """Write or read the shape of every tensor.

    A size is predicted by what the same size of the factory became before: if 64 channels became 48
    in one tensor, they mostly became 48 in the next.
    """
    became: dict[int, int] = {}
    shapes: dict[str, list[int]] = {}
    for name, value in built.items():
        given = value.shape if state is None else state[name].shape
        shapes[name] = []
        for size, former in zip(given, value.shape, strict=True):
            guess = became.get(former, former)
            is_known = former in became
            is_other = coder.bit("resized", (0, is_known), int(size != guess))
            became[former] = _code_size(coder, size) if is_other else guess
            shapes[name].append(became[former])
    return shapes


def _code_size(coder: Coder, size: int) -> int:
    """Write or read a size: 12 bits, or 32 if it is large."""
    is_large = coder.bit("large", (0,), int(size >> 12 > 0))
    return coder.uniform(32 if is_large else 12, size)


def _code_names(
    coder: Coder, kind: str, names: list[str], chosen: Collection[str]
) -> tuple[str, ...]:
    """Write or read which of the names are chosen, a bit for each."""
    found = []
    for name in names:
        attribute = name.rpartition(".")[2]
        if coder.bit(kind, (0, attribute), int(name in chosen)):
            found.append(name)
    return tuple(found)


def _number(value: int) -> bytes:
    """An integer in groups of seven bits, lowest first, with a bit for "more" (LEB128).

    The value 300 = 10 0101100 has the bytes 172 (128 + 44) and 2.
    """
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def _read_number(content: bytes, position: int) -> tuple[int, int]:
    """The integer at a position, and the position behind it."""
    value = 0
    shift = 0
    while True:
        group = content[position]
        position += 1
        value |= (group & 127) << shift
        shift += 7
        if group < 128:
            return value, position

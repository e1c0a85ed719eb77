"""Tensors, written in their smallest lossless encoding.

Each `_code_...` function serves both directions: a writer is given the value, a reader is given
None, and both return the value.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.coding.coder import Coder, code_natural
from espalier.coding.encodings import (
    LARGEST_CODEBOOK,
    MANTISSA,
    Codebook,
    Floats,
    Levels,
    Sparse,
    Steps,
    Values,
    codebook_values,
    mantissa_digits,
    smallest_encoding,
)
from espalier.coding.levels import code_levels

_ENCODINGS = (Steps, Codebook, Floats, Sparse)  # their order is part of the format
_CHUNK = 2**16  # values that are converted to digits at once
_EXPONENT_BIAS = 127
_MANTISSA_MASK = 2**MANTISSA - 1


@dataclass
class Blob:
    """Digits of floats, which no model predicts, one after another.

    Attributes:
        content: All bytes that are written, or that can be read.
        position: Number of bytes that were read.
    """

    content: bytearray
    position: int = 0

    def read(self, count: int) -> bytes:
        """The next bytes."""
        start = self.position
        self.position += count
        return bytes(self.content[start : self.position])


@dataclass(frozen=True)
class _Place:
    """The streams and the shape that a tensor is coded with.

    Attributes:
        coder: Entropy coder of integers.
        blob: Digits of floats.
        shape: Shape of the tensor.
        number: Number of the tensor in its network.
    """

    coder: Coder
    blob: Blob
    shape: tuple[int, ...]
    number: int

    def levels(self, given: Levels | None) -> Levels:
        """Write or read integers of the tensor's shape."""
        levels = [] if given is None else given.tolist()
        return np.array(code_levels(self.coder, levels, self.shape, self.number), np.int64)


def code_tensor(
    coder: Coder, blob: Blob, tensor: Tensor | None, like: Tensor, number: int
) -> Tensor:
    """Write or read a tensor.

    Args:
        coder: Entropy coder of integers.
        blob: Digits of floats.
        tensor: Tensor that is written; None for a reader.
        like: A tensor of the same shape and type.
        number: Number of the tensor in its network.

    Returns:
        The tensor, equal bit for bit.
    """
    if like.dtype == torch.float32:
        given = None
        if tensor is not None:
            given = tensor.detach().cpu().contiguous().numpy().ravel()
        values = _code_values(_Place(coder, blob, tuple(like.shape), number), given)
        return torch.from_numpy(values.copy()).reshape(like.shape)
    if like.is_floating_point() or like.is_complex():
        return _code_bytes(blob, tensor, like)
    return _code_integers(coder, tensor, like)


def _code_values(place: _Place, values: Values | None) -> Values:
    """Write or read float32 values: the number of the encoding, then its content."""
    encoding = None if values is None else smallest_encoding(values)
    number = 0 if encoding is None else _ENCODINGS.index(type(encoding))
    kind = _ENCODINGS[code_natural(place.coder, "form", number)]
    if kind is Steps:
        return _code_steps(place, encoding if isinstance(encoding, Steps) else None)
    if kind is Codebook:
        return _code_codebook(place, encoding if isinstance(encoding, Codebook) else None)
    if kind is Sparse:
        return _code_sparse(place, encoding if isinstance(encoding, Sparse) else None)
    count = prod(place.shape)
    floats = encoding if isinstance(encoding, Floats) else None
    return _code_floats(place.coder, place.blob, floats, count)


def _code_steps(place: _Place, steps: Steps | None) -> Values:
    given = None if steps is None else np.array([steps.step], np.float32)
    step = _code_few_floats(place.coder, given, length=1)[0]
    levels = place.levels(None if steps is None else steps.levels)
    return (levels * np.float64(step)).astype(np.float32)


def _code_codebook(place: _Place, codebook: Codebook | None) -> Values:
    book = _code_few_floats(place.coder, None if codebook is None else codebook.values)
    levels = place.levels(None if codebook is None else codebook.levels)
    return codebook_values(levels, book)


def _code_sparse(place: _Place, sparse: Sparse | None) -> Values:
    levels = place.levels(None if sparse is None else sparse.levels)
    given = None if sparse is None else sparse.others
    values = np.zeros(len(levels), np.float32)
    values[levels != 0] = _code_floats(place.coder, place.blob, given, int(levels.sum()))
    return values


def _code_few_floats(coder: Coder, values: Values | None, length: int | None = None) -> Values:
    """Write or read a few floats, with as many digits as they need.

    Args:
        coder: Entropy coder.
        values: Floats that are written; None for a reader.
        length: number of values, if the reader knows it.
    """
    given = np.zeros(0, np.float32) if values is None else values
    count = code_natural(coder, "length", len(given)) if length is None else length
    digits = code_natural(coder, "mantissa", mantissa_digits(given))
    if count > LARGEST_CODEBOOK or digits > MANTISSA:
        raise ValueError(f"{count} values of {digits} digits in a codebook")
    found = np.zeros(count, np.uint32)
    exponent = _EXPONENT_BIAS
    for position in range(count):
        bits = 0 if values is None else int(given.view(np.uint32)[position])
        sign = coder.uniform(1, bits >> 31)
        exponent = _code_exponent(coder, bits >> MANTISSA & 255, exponent)
        fraction = coder.uniform(digits, (bits & _MANTISSA_MASK) >> (MANTISSA - digits))
        found[position] = sign << 31 | exponent << MANTISSA | fraction << (MANTISSA - digits)
    return found.view(np.float32)


def _code_exponent(coder: Coder, exponent: int, former: int) -> int:
    """Write or read an exponent as its difference from the one before."""
    is_smaller = coder.bit("exponent down", (0,), int(exponent < former))
    difference = former - exponent if is_smaller else exponent - former
    distance = code_natural(coder, "exponent", difference)
    return former - distance if is_smaller else former + distance


def _code_floats(coder: Coder, blob: Blob, floats: Floats | None, count: int) -> Values:
    """Write or read floats one by one: sign, exponent and as many digits as the longest needs."""
    digits = code_natural(coder, "digits of floats", 0 if floats is None else floats.mantissa)
    if digits > MANTISSA or count < 0:
        raise ValueError(f"{count} floats of {digits} digits")
    if floats is None:
        return _read_floats(blob, digits, count)
    if digits == MANTISSA:  # whole bytes
        blob.content += floats.values.astype("<f4").tobytes()
        return floats.values
    for start in range(0, count, _CHUNK):
        chunk = floats.values[start : start + _CHUNK]
        bits = chunk.view(np.uint32) >> np.uint32(MANTISSA - digits)
        rows = bits[:, None] >> _bit_positions(digits) & 1
        blob.content += np.packbits(rows.astype(np.uint8)).tobytes()
    return floats.values


def _read_floats(blob: Blob, digits: int, count: int) -> Values:
    if digits == MANTISSA:
        return np.frombuffer(blob.read(4 * count), "<f4").astype(np.float32)
    positions = _bit_positions(digits)
    width = len(positions)
    chunks = [np.zeros(0, np.uint32)]
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        packed = np.frombuffer(blob.read((size * width + 7) // 8), np.uint8)
        rows = np.unpackbits(packed)[: size * width].reshape(size, width).astype(np.uint32)
        bits = (rows << positions).sum(1, dtype=np.uint32)
        chunks.append(bits << np.uint32(MANTISSA - digits))
    return np.concatenate(chunks).view(np.float32)


def _bit_positions(digits: int) -> NDArray[np.uint32]:
    """Bit positions of a float of fewer digits, the highest first."""
    return np.arange(8 + digits, -1, -1, dtype=np.uint32)


def _code_bytes(blob: Blob, tensor: Tensor | None, like: Tensor) -> Tensor:
    """Write or read floats of another width as their bytes."""
    if tensor is not None:
        values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        blob.content += bytes(values.tolist())
        return tensor
    content = blob.read(like.numel() * like.element_size())
    return torch.frombuffer(bytearray(content), dtype=like.dtype).reshape(like.shape)


def _code_integers(coder: Coder, tensor: Tensor | None, like: Tensor) -> Tensor:
    """Write or read integers and truth values, each by its sign and magnitude."""
    given = [0] * like.numel()
    if tensor is not None:
        given = [int(value) for value in tensor.cpu().flatten().tolist()]
    found = []
    for value in given:
        is_negative = coder.bit("integer negative", (0,), int(value < 0))
        size = code_natural(coder, "integer", abs(value))
        found.append(-size if is_negative else size)
    return torch.tensor(found, dtype=like.dtype).reshape(like.shape)

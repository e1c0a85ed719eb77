"""Tensors, written down in their smallest forms."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.coding.coder import Coder, natural
from espalier.coding.forms import MANTISSA, Codebook, Floats, Sparse, Steps, find, look_up, mantissa
from espalier.coding.levels import code_levels

_FORMS = (Steps, Codebook, Floats, Sparse)
_CHUNK = 2**16  # numbers that are turned into digits at once


@dataclass
class Blob:
    """What no model can predict: digits of floats, laid out one after another."""

    content: bytearray
    place: int = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self.place += count
        return bytes(self.content[self.place - count : self.place])


def code_tensor(
    coder: Coder, blob: Blob, tensor: Tensor | None, like: Tensor, number: int
) -> Tensor:
    """Write or read a tensor.

    Args:
        coder: Where integers go or come from.
        blob: Where the digits of floats go or come from.
        tensor: What is written; a reader is given none.
        like: A tensor of the same shape and type.
        number: Of the tensor in its network.

    Returns:
        The tensor, equal bit for bit.
    """
    if like.dtype == torch.float32:
        values = None if tensor is None else tensor.detach().cpu().contiguous().numpy().ravel()
        return torch.from_numpy(
            _code_values(coder, blob, values, tuple(like.shape), number).copy()
        ).reshape(like.shape)
    if like.is_floating_point() or like.is_complex():
        return _code_bytes(blob, tensor, like)
    return _code_integers(coder, tensor, like)


def _code_values(
    coder: Coder,
    blob: Blob,
    values: NDArray[np.float32] | None,
    shape: tuple[int, ...],
    number: int,
) -> NDArray[np.float32]:
    form = None if values is None else find(values)
    which = natural(coder, "form", 0 if form is None else _FORMS.index(type(form)))
    if _FORMS[which] is Floats:
        return _code_floats(coder, blob, form if isinstance(form, Floats) else None, prod(shape))
    if _FORMS[which] is Sparse:
        levels = _code(coder, form.levels if isinstance(form, Sparse) else None, shape, number)
        others = _code_floats(
            coder, blob, form.others if isinstance(form, Sparse) else None, int(levels.sum())
        )
        found = np.zeros(len(levels), np.float32)
        found[levels != 0] = others
        return found
    if _FORMS[which] is Codebook:
        book = _code_book(coder, form.values if isinstance(form, Codebook) else None)
        return look_up(
            _code(coder, form.levels if isinstance(form, Codebook) else None, shape, number), book
        )
    given = np.array([form.step], np.float32) if isinstance(form, Steps) else None
    step = _code_book(coder, given, length=1)[0]
    levels = _code(coder, form.levels if isinstance(form, Steps) else None, shape, number)
    return (levels * np.float64(step)).astype(np.float32)


def _code(
    coder: Coder, levels: NDArray[np.int64] | None, shape: tuple[int, ...], number: int
) -> NDArray[np.int64]:
    return np.array(
        code_levels(coder, [] if levels is None else levels.tolist(), shape, number), np.int64
    )


def _code_book(
    coder: Coder, values: NDArray[np.float32] | None, length: int | None = None
) -> NDArray[np.float32]:
    """A few floats, with as many digits as they need."""
    given = np.zeros(0, np.float32) if values is None else values
    count = natural(coder, "length", len(given)) if length is None else length
    digits = natural(coder, "mantissa", mantissa(given))
    found = np.zeros(count, np.uint32)
    former = 127
    for place in range(count):
        bits = int(given.view(np.uint32)[place]) if values is not None else 0
        sign, exponent = coder.plain(1, bits >> 31), (bits >> MANTISSA) & 255
        moved = coder.bit("exponent down", (0,), int(exponent < former))
        distance = natural(coder, "exponent", former - exponent if moved else exponent - former)
        former += -distance if moved else distance
        fraction = coder.plain(digits, (bits & (2**MANTISSA - 1)) >> (MANTISSA - digits))
        found[place] = sign << 31 | former << MANTISSA | fraction << (MANTISSA - digits)
    return found.view(np.float32)


def _code_floats(coder: Coder, blob: Blob, form: Floats | None, count: int) -> NDArray[np.float32]:
    digits = natural(coder, "digits of floats", 0 if form is None else form.mantissa)
    width, spare = 9 + digits, MANTISSA - digits
    places = np.arange(width - 1, -1, -1, dtype=np.uint32)
    parts = []
    if digits == MANTISSA:  # whole bytes
        blob.content += b"" if form is None else form.values.astype("<f4").tobytes()
        return (
            np.frombuffer(blob.take(4 * count), "<f4").astype(np.float32)
            if form is None
            else form.values
        )
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        if form is not None:
            bits = form.values[start : start + size].view(np.uint32) >> np.uint32(spare)
            blob.content += np.packbits((bits[:, None] >> places & 1).astype(np.uint8)).tobytes()
        else:
            packed = np.frombuffer(blob.take((size * width + 7) // 8), np.uint8)
            rows = np.unpackbits(packed)[: size * width].reshape(size, width).astype(np.uint32)
            parts.append((rows << places).sum(1, dtype=np.uint32) << np.uint32(spare))
    if form is not None:
        return form.values
    return np.concatenate([*parts, np.zeros(0, np.uint32)]).view(np.float32)


def _code_bytes(blob: Blob, tensor: Tensor | None, like: Tensor) -> Tensor:
    """Floats of other widths, as they are."""
    if tensor is not None:
        blob.content += bytes(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).tolist()
        )
        return tensor
    content = blob.take(like.numel() * like.element_size())
    return torch.frombuffer(bytearray(content), dtype=like.dtype).reshape(like.shape)


def _code_integers(coder: Coder, tensor: Tensor | None, like: Tensor) -> Tensor:
    given = (
        [0] * like.numel()
        if tensor is None
        else [int(value) for value in tensor.cpu().flatten().tolist()]
    )
    found = []
    for value in given:
        negative = coder.bit("integer negative", (0,), int(value < 0))
        size = natural(coder, "integer", abs(value))
        found.append(-size if negative else size)
    return torch.tensor(found, dtype=like.dtype).reshape(like.shape)

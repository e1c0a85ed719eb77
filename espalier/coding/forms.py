"""The forms in which a tensor can be written down without loss, of which the smallest is taken."""

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

MANTISSA = 23  # digits of a float32 behind the binary point
_MOST_VALUES = 4096  # different numbers in a tensor up to which a codebook or a step is looked for
_MOST_LEVEL = 2**15
_LOOK = 2**16  # numbers that are looked at before all are sorted


@dataclass(frozen=True)
class Steps:
    """Every number is a multiple of one step, which is a float32: only the multiples differ."""

    step: float
    levels: NDArray[np.int64]


@dataclass(frozen=True)
class Codebook:
    """Few numbers (float32, ascending, without +0); `levels` counts them off from zero in both directions."""

    values: NDArray[np.float32]
    levels: NDArray[np.int64]


@dataclass(frozen=True)
class Floats:
    """Numbers by themselves, with so many digits behind the binary point."""

    values: NDArray[np.float32]
    mantissa: int


@dataclass(frozen=True)
class Sparse:
    """Zeros where `levels` is 0; the others by themselves."""

    others: Floats
    levels: NDArray[np.int64]


Form = Steps | Codebook | Floats | Sparse


def find(values: NDArray[np.float32]) -> Form:
    """The smallest form of a tensor's numbers (N,), equal bit for bit."""
    digits = mantissa(values)
    used = values.view(np.uint32) != 0
    sparse = (
        (~used).mean() * (9 + digits) > 1 if len(values) else False
    )  # a bit tells which are zero, at the most
    by_themselves = (
        Sparse(Floats(values[used], digits), used.astype(np.int64))
        if sparse
        else Floats(values, digits)
    )
    if (
        not len(values)
        or not np.isfinite(values).all()
        or len(np.unique(values[:_LOOK])) > _MOST_VALUES
    ):
        return by_themselves
    distinct, counts = np.unique(values.view(np.uint32), return_counts=True)
    if len(distinct) > _MOST_VALUES:
        return by_themselves
    book = distinct.view(np.float32)
    step = _step(book)
    if step and np.abs(book).max() / step <= min(_MOST_LEVEL, 4 * len(book) + 16):
        return Steps(step, np.rint(values.astype(np.float64) / step).astype(np.int64))
    book = book[distinct != 0]
    book = book[np.argsort(_key(book))]
    entropy = float(-(counts * np.log2(counts / len(values))).sum())
    zeros = float((~used).sum()) if sparse else 0.0
    if len(book) * (9 + mantissa(book)) + entropy < (len(values) - zeros) * (9 + digits):
        return Codebook(book, count_off(values, book))
    return by_themselves


def mantissa(values: NDArray[np.float32]) -> int:
    """How many digits behind the binary point the numbers need; all of them for those that are not finite."""
    if not np.isfinite(values).all():
        return MANTISSA
    used = int(
        np.bitwise_or.reduce(
            values.view(np.uint32) & np.uint32(2**MANTISSA - 1), initial=np.uint32(0)
        )
    )
    return MANTISSA - ((used & -used).bit_length() - 1) if used else 0


def _step(book: NDArray[np.float32]) -> float:
    """The largest number of which all are multiples, exactly; 0 if there is none.

    There is none of a negative zero, nor of numbers too small to be normal, which may pass for zero in this process.
    """
    bits = book.view(np.uint32)
    if (bits & np.uint32(255 << MANTISSA) == 0).sum() != (bits == 0).sum() or not bits.any():
        return 0.0
    ratios = [float(value).as_integer_ratio() for value in book]
    scale = max(below for _, below in ratios)  # all are powers of two
    return float(gcd(*(above * (scale // below) for above, below in ratios))) / scale


def count_off(values: NDArray[np.float32], book: NDArray[np.float32]) -> NDArray[np.int64]:
    """Where in a codebook numbers stand: +0 is 0, the smallest positive one 1, the largest negative one -1."""
    below = int(np.signbit(book).sum())
    place = np.searchsorted(_key(book), _key(values))
    levels = np.where(place < below, place - below, place - below + 1)
    return np.where(values.view(np.uint32) == 0, 0, levels)


def look_up(levels: NDArray[np.int64], book: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers that stand there."""
    below = int(np.signbit(book).sum())
    shelf = np.concatenate([book[:below], np.zeros(1, np.float32), book[below:]])
    return shelf[levels + below]


def _key(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers in the order of the numbers, by which -0 stands before +0."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits - 1, bits)

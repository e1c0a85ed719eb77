"""Lossless encodings of a tensor's values; the smallest is chosen."""

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Levels = NDArray[np.int64]

MANTISSA = 23  # binary digits of a float32 behind the point
_SIGN_AND_EXPONENT = 9  # bits
LARGEST_CODEBOOK = 4096  # distinct values up to which a codebook or a step is tried
_LARGEST_LEVEL = 2**15
_SAMPLE = 2**16  # values whose distinct ones are counted before all are sorted


@dataclass(frozen=True)
class Steps:
    """Integer multiples of one step, a float32: [0.5, -1, 0] are [1, -2, 0] times 0.5."""

    step: float
    levels: Levels


@dataclass(frozen=True)
class Codebook:
    """Few distinct values (float32, ascending, without +0), and the number of each element's.

    `levels` counts the values from zero in both directions: with the values [-2, -1, 5] the
    elements [-1, 5, 0] are [-1, 1, 0].
    """

    values: Values
    levels: Levels


@dataclass(frozen=True)
class Floats:
    """Values one by one, with `mantissa` binary digits behind the point."""

    values: Values
    mantissa: int


@dataclass(frozen=True)
class Sparse:
    """Zeros where `levels` is 0; the other values one by one."""

    others: Floats
    levels: Levels


Encoding = Steps | Codebook | Floats | Sparse


def smallest_encoding(values: Values) -> Encoding:
    """The smallest encoding of a tensor's values (N,), equal bit for bit."""
    digits = mantissa_digits(values)
    used = values.view(np.uint32) != 0
    plain = _plain_encoding(values, used, digits)
    if not len(values) or not np.isfinite(values).all():
        return plain
    if len(np.unique(values[:_SAMPLE])) > LARGEST_CODEBOOK:
        return plain
    distinct, counts = np.unique(values.view(np.uint32), return_counts=True)
    if len(distinct) > LARGEST_CODEBOOK:
        return plain
    book = distinct.view(np.float32)
    steps = _steps(values, book)
    if steps is not None:
        return steps
    book = book[distinct != 0]
    book = book[np.argsort(_sort_key(book))]
    entropy = float(-(counts * np.log2(counts / len(values))).sum())
    book_bits = len(book) * (_SIGN_AND_EXPONENT + mantissa_digits(book)) + entropy
    zeros = float((~used).sum()) if isinstance(plain, Sparse) else 0.0
    plain_bits = (len(values) - zeros) * (_SIGN_AND_EXPONENT + digits)
    if book_bits < plain_bits:
        return Codebook(book, codebook_levels(values, book))
    return plain


def _plain_encoding(values: Values, used: NDArray[np.bool_], digits: int) -> Floats | Sparse:
    """Values one by one; without the zeros if a bit per element to mark them costs less."""
    width = _SIGN_AND_EXPONENT + digits
    if len(values) and (~used).mean() * width > 1:
        return Sparse(Floats(values[used], digits), used.astype(np.int64))
    return Floats(values, digits)


def _steps(values: Values, book: Values) -> Steps | None:
    """The values as multiples of a common step; None without one, or if multiples are large."""
    step = _largest_step(book)
    if not step:
        return None
    largest = np.abs(book).max() / step
    if largest > min(_LARGEST_LEVEL, 4 * len(book) + 16):
        return None
    levels = np.rint(values.astype(np.float64) / step).astype(np.int64)
    return Steps(step, levels)


def mantissa_digits(values: Values) -> int:
    """The number of binary digits behind the point that the values need; all if one is not finite.

    1.5 needs one digit (1.1), 1.25 two (1.01): together they need two.
    """
    if not np.isfinite(values).all():
        return MANTISSA
    fractions = values.view(np.uint32) & np.uint32(2**MANTISSA - 1)
    used = int(np.bitwise_or.reduce(fractions, initial=np.uint32(0)))
    if not used:
        return 0
    trailing_zeros = (used & -used).bit_length() - 1
    return MANTISSA - trailing_zeros


def _largest_step(book: Values) -> float:
    """The largest number that divides all values exactly; 0 if there is none.

    There is none if a value is a negative zero or denormal: the processor may take denormals for
    zero.
    """
    bits = book.view(np.uint32)
    exponent_is_zero = bits & np.uint32(255 << MANTISSA) == 0
    positive_zeros = bits == 0
    if exponent_is_zero.sum() != positive_zeros.sum() or not bits.any():
        return 0.0
    ratios = [float(value).as_integer_ratio() for value in book]
    scale = max(denominator for _, denominator in ratios)  # all are powers of two
    numerators = [numerator * (scale // denominator) for numerator, denominator in ratios]
    return float(gcd(*numerators)) / scale


def codebook_levels(values: Values, book: Values) -> Levels:
    """The number of each value in a codebook, counted from +0, which is 0."""
    negative = int(np.signbit(book).sum())
    place = np.searchsorted(_sort_key(book), _sort_key(values))
    levels = np.where(place < negative, place - negative, place - negative + 1)
    return np.where(values.view(np.uint32) == 0, 0, levels)


def codebook_values(levels: Levels, book: Values) -> Values:
    """The values of numbers in a codebook."""
    negative = int(np.signbit(book).sum())
    with_zero = np.concatenate([book[:negative], np.zeros(1, np.float32), book[negative:]])
    return with_zero[levels + negative]


def _sort_key(values: Values) -> Levels:
    """Integers in the order of the values, where -0 comes before +0."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits - 1, bits)

"""Bits and integers, through an entropy coder: one description of a format serves to write and to read it.

Each method takes the value to be written and gives it back; a `Reader` is given nothing and gives what it read.
"""

from array import array
from collections.abc import Hashable, Sequence
from typing import Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from espalier.coding.mixing import Predictor

_MODEL = constriction.stream.model.Bernoulli
_HALVES = 16  # as many halvings of an integer are told apart by contexts


class Coder(Protocol):
    """What a format is described in."""

    reads: bool

    def bit(self, kind: Hashable, contexts: Sequence[Hashable], value: int) -> int:
        """A bit, as likely as its contexts make it."""

    def plain(self, width: int, value: int) -> int:
        """A number below 2 ** width of which nothing is known beforehand."""


class Writer:
    """Writes bits."""

    reads = False

    def __init__(self) -> None:
        self._predictor = Predictor()
        self._bits, self._chances = bytearray(), array("d")

    def bit(self, kind: Hashable, contexts: Sequence[Hashable], value: int) -> int:
        """Write a bit."""
        self._chances.append(self._predictor.predict(kind, contexts))
        self._bits.append(value)
        self._predictor.learn(value)
        return value

    def plain(self, width: int, value: int) -> int:
        """Write the bits of a number, the highest first."""
        self._bits += bytes(value >> place & 1 for place in reversed(range(width)))
        self._chances.extend([0.5] * width)
        return value

    def content(self) -> bytes:
        """All that was written, by a range coder."""
        encoder = constriction.stream.queue.RangeEncoder()
        if self._bits:
            written = np.frombuffer(self._bits, np.uint8).astype(np.int32)
            encoder.encode(written, _MODEL(perfect=False), np.frombuffer(self._chances))
        words: NDArray[np.uint32] = encoder.get_compressed()
        return words.astype("<u4").tobytes()


class Reader:
    """Reads what a `Writer` wrote."""

    reads = True

    def __init__(self, content: bytes) -> None:
        self._predictor = Predictor()
        self._decoder = constriction.stream.queue.RangeDecoder(
            np.frombuffer(content, "<u4").astype(np.uint32)
        )

    def bit(self, kind: Hashable, contexts: Sequence[Hashable], value: int = 0) -> int:
        """Read a bit."""
        found = self._read(self._predictor.predict(kind, contexts))
        self._predictor.learn(found)
        return found

    def plain(self, width: int, value: int = 0) -> int:
        """Read a number of so many bits."""
        value = 0
        for _ in range(width):
            value = value << 1 | self._read(0.5)
        return value

    def _read(self, chance: float) -> int:
        return int(self._decoder.decode(_MODEL(chance, perfect=False)))


def natural(coder: Coder, kind: Hashable, value: int = 0) -> int:
    """An integer of at least 0: its number of digits in base 2 in unary, then the digits (Elias 1975, gamma)."""
    value += 1
    digits = 0
    while coder.bit((kind, "digits"), (min(digits, _HALVES),), int(value >> digits > 1)):
        digits += 1
    found = 1
    for place in reversed(range(digits)):
        found = found << 1 | coder.bit((kind, "digit"), ((digits, place),), value >> place & 1)
    return found - 1

"""An entropy coder of bits and integers: one description of a format both writes and reads it.

Each method is given the value that is written and returns it; a `Reader` ignores the value it is
given and returns what it reads.
"""

from array import array
from collections.abc import Hashable, Sequence
from typing import Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from espalier.coding.mixing import Predictor
from espalier.settings.limits import CODED_EXPANSION, largest_coded

_MODEL = constriction.stream.model.Bernoulli
_LONGEST_NUMBER = 64  # binary digits: no tensor has longer integers
_LARGEST_CONTEXT = 16  # longer unary codes share the context of the 16th digit


class Coder(Protocol):
    """Writes or reads bits and integers."""

    reads: bool

    def bit(self, kind: Hashable, contexts: Sequence[Hashable], value: int) -> int:
        """Write or read a bit whose probability its contexts predict."""

    def uniform(self, width: int, value: int) -> int:
        """Write or read an integer below 2 ** width; all are equally probable."""


class Writer:
    """Writes bits, which `content` compresses."""

    reads = False

    def __init__(self) -> None:
        self._predictor = Predictor()
        self._bits = bytearray()
        self._probabilities = array("d")  # of a one, for each bit

    def bit(self, kind: Hashable, contexts: Sequence[Hashable], value: int) -> int:
        """Write a bit."""
        self._probabilities.append(self._predictor.predict(kind, contexts))
        self._bits.append(value)
        self._predictor.learn(value)
        return value

    def uniform(self, width: int, value: int) -> int:
        """Write the bits of an integer, the highest first."""
        self._bits += bytes(value >> place & 1 for place in reversed(range(width)))
        self._probabilities.extend([0.5] * width)
        return value

    def content(self) -> bytes:
        """All bits, compressed by a range coder; padded with zeros where a reader expects more bytes."""
        encoder = constriction.stream.queue.RangeEncoder()
        if self._bits:
            bits = np.frombuffer(self._bits, np.uint8).astype(np.int32)
            probabilities = np.frombuffer(self._probabilities)
            encoder.encode(bits, _MODEL(perfect=False), probabilities)
        words: NDArray[np.uint32] = encoder.get_compressed()
        content = words.astype("<u4").tobytes()
        if len(self._bits) <= largest_coded(len(content)):
            return content
        count = -(-len(self._bits) // CODED_EXPANSION // words.itemsize)
        return content.ljust(count * words.itemsize, b"\0")


class Reader:
    """Reads the content of a `Writer`, up to a number of bits in proportion to its size.

    A few bytes can hold any number of bits that are as predicted, and each takes time.
    """

    reads = True

    def __init__(self, content: bytes) -> None:
        words = np.frombuffer(content, "<u4").astype(np.uint32)
        self._predictor = Predictor()
        self._decoder = constriction.stream.queue.RangeDecoder(words)
        self._left = largest_coded(len(content))

    def bit(self, kind: Hashable, contexts: Sequence[Hashable], value: int = 0) -> int:
        """Read a bit."""
        found = self._read(self._predictor.predict(kind, contexts))
        self._predictor.learn(found)
        return found

    def uniform(self, width: int, value: int = 0) -> int:
        """Read an integer of `width` bits."""
        value = 0
        for _ in range(width):
            value = value << 1 | self._read(0.5)
        return value

    def _read(self, probability: float) -> int:
        self._left -= 1
        if self._left < 0:
            raise ValueError("more coded bits than a file of this size has")
        return int(self._decoder.decode(_MODEL(probability, perfect=False)))


def code_natural(coder: Coder, kind: Hashable, value: int = 0) -> int:
    """Write or read an integer of at least 0: length in unary, then digits (Elias 1975, gamma).

    The value 4 is coded as 5 = 101: two digits follow the first one (1, 1, 0), and they are 0 and
    1.
    """
    value += 1
    digits = 0
    while True:
        context = min(digits, _LARGEST_CONTEXT)
        is_longer = int(value >> digits > 1)
        if not coder.bit((kind, "digits"), (context,), is_longer):
            break
        digits += 1
        if digits > _LONGEST_NUMBER:
            raise ValueError(f"a number of more than {_LONGEST_NUMBER} binary digits")
    found = 1
    for place in reversed(range(digits)):
        digit = value >> place & 1
        found = found << 1 | coder.bit((kind, "digit"), ((digits, place),), digit)
    return found - 1

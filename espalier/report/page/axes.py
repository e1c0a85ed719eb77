"""Axes of plots: the position of a value in a picture, and the values of the ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_STEPS = (1.0, 2.0, 5.0, 10.0)
_DIGITS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))  # leading digits of ticks, sparse to dense
_MARGIN = 0.06  # fraction of the range that is left free at both ends


@dataclass(frozen=True)
class Axis:
    """A range of values and its position in a picture.

    Attributes:
        low: least value.
        high: greatest value; above `low`.
        start: position of `low`.
        end: position of `high`.
        log: whether the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(
        cls, values: Iterable[float], start: float, end: float, *, log: bool = False
    ) -> "Axis":
        """An axis around all finite values; around all positive ones if it is logarithmic."""
        shown = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        numbers = np.array(shown or [1.0])
        low, high = float(numbers.min()), float(numbers.max())
        if log:
            margin = max((high / low) ** _MARGIN, 1.1)
            return cls(low / margin, high * margin, start, end, log=True)
        margin = _MARGIN * (high - low) or max(abs(high), 1.0) / 10
        return cls(low - margin, high + margin, start, end)

    def at(self, value: float) -> float:
        """The position of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values within the range."""
        return (self._powers(count) if self.log else None) or self._multiples(count)

    def _powers(self, count: int) -> list[float] | None:
        """Powers of ten with round leading digits; None if too few lie within the range."""
        first = math.floor(math.log10(self.low))
        last = math.ceil(math.log10(self.high))
        for digits in _DIGITS:
            rounds = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
            inside = [tick for tick in rounds if self.low <= tick <= self.high]
            if len(inside) >= count - 2:
                return inside
        return None

    def _multiples(self, count: int) -> list[float]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        spacing = (self.high - self.low) / count
        magnitude = 10.0 ** math.floor(math.log10(spacing))
        enough = (one for one in _STEPS if one * magnitude >= spacing * 0.999)
        step = next(enough) * magnitude
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [step * number for number in range(first, last + 1)]

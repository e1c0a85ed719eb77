"""Axes of plots: where a value lies in the picture, and which values are written beside it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """A range of values, drawn from one place to another.

    Attributes:
        low: The least value.
        high: The greatest; above `low`.
        start: Where `low` lies.
        end: Where `high` lies.
        log: Whether equal ratios, not differences, are equally long.
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
        """An axis that holds all finite values with room at both ends; of a logarithmic one, all positive values."""
        numbers = np.array(
            [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [1.0]
        )
        low, high = float(numbers.min()), float(numbers.max())
        if log:
            room = max((high / low) ** 0.06, 1.1)
            return cls(low / room, high * room, start, end, log=True)
        room = 0.06 * (high - low) or max(abs(high), 1.0) / 10
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Where a value lies."""
        low, high, own = (
            math.log(one) if self.log else one for one in (self.low, self.high, value)
        )
        return self.start + (own - low) / (high - low) * (self.end - self.start)

    def ticks(self, wished: int = 5) -> list[float]:
        """About so many round values within the range."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            for digits in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
                found = [
                    digit * 10.0**power for power in range(first, last + 1) for digit in digits
                ]
                found = [tick for tick in found if self.low <= tick <= self.high]
                if len(found) >= wished - 2:
                    return found
        rough = (self.high - self.low) / wished
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(one for one in _STEPS if one * magnitude >= rough * 0.999) * magnitude
        return [
            step * number
            for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        ]

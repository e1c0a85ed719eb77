"""How likely the next bit is: adaptive contexts, mixed in the logistic domain (Mahoney 2005, section 3).

Whoever decodes must predict the very numbers that whoever encoded did, on any machine. So nothing here calls a function
of the mathematical library, whose last digits differ between systems: only sums, products and quotients of doubles.
"""

from collections.abc import Hashable, Sequence

_STEPS = 128  # of the tables, per unit of log odds
_LARGEST = 12 * _STEPS  # log odds beyond 12 count as 12
_GROWTH = 1.007843097206448  # exp(1 / 128)
_FINE = 4096  # of the table from probability to log odds


def _squash() -> list[float]:
    odds = [1.0]
    for _ in range(_LARGEST):
        odds.append(odds[-1] * _GROWTH)
    upper = [value / (1 + value) for value in odds]
    return [1 - value for value in reversed(upper[1:])] + upper


def _stretch(squash: list[float]) -> list[float]:
    """The inverse: the log odds at the middle of each of `_FINE` equal parts of [0, 1]."""
    found, place = [], 0
    for part in range(_FINE):
        while place < 2 * _LARGEST and squash[place] < (part + 0.5) / _FINE:
            place += 1
        found.append((place - _LARGEST) / _STEPS)
    return found


_SQUASH = _squash()
_STRETCH = _stretch(_SQUASH)
_MOST = 1023  # bits that a context remembers
_RATES = [
    1 / (count + 2) for count in range(_MOST + 1)
]  # of a context that has seen so many bits, about their mean
_BORN = 2  # what a new context inherits from the first counts as so many bits
_LEARNING = 0.02  # of the mixing weights
_SPECIAL = 0.3  # the weight of what a special context says beyond the general one, at first


class Predictor:
    """Predicts bits of several kinds, each from contexts of its own, and learns from each bit.

    The first context of a kind is the most general one; the others begin where it stands, and what is mixed of them is
    how much their log odds differ from its.
    """

    def __init__(self) -> None:
        self._states: dict[Hashable, list[float]] = {}  # probability of a one, and the bits seen
        self._weights: dict[Hashable, list[float]] = {}
        self._seen: list[list[float]] = []
        self._inputs: list[float] = []
        self._mixed: list[float] = []
        self._probability = 0.5

    def predict(self, kind: Hashable, contexts: Sequence[Hashable]) -> float:
        """The probability that the next bit of a kind, which always has as many contexts, is a one, in (0, 1)."""
        mixed = self._weights.get(kind)
        if mixed is None:
            mixed = self._weights[kind] = [1.0] + [_SPECIAL] * (len(contexts) - 1)
        general = self._state((kind, 0, contexts[0]), 0.5, 0)
        origin = _STRETCH[int(general[0] * _FINE)]
        seen, inputs, total = [general], [origin], mixed[0] * origin
        for number in range(1, len(contexts)):
            state = self._state((kind, number, contexts[number]), general[0], _BORN)
            value = _STRETCH[int(state[0] * _FINE)] - origin
            total += mixed[number] * value
            seen.append(state)
            inputs.append(value)
        place = int(total * _STEPS)
        place = -_LARGEST if place < -_LARGEST else min(place, _LARGEST)
        self._seen, self._inputs, self._mixed = seen, inputs, mixed
        self._probability = _SQUASH[place + _LARGEST]
        return self._probability

    def learn(self, bit: int) -> None:
        """Take in the bit that was predicted last."""
        error = (bit - self._probability) * _LEARNING
        mixed, inputs = self._mixed, self._inputs
        for number, state in enumerate(self._seen):
            mixed[number] += error * inputs[number]
            count = state[1]
            state[0] += (bit - state[0]) * _RATES[int(count)]
            if count < _MOST:
                state[1] = count + 1

    def _state(self, key: Hashable, probability: float, count: float) -> list[float]:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = [probability, count]
        return state

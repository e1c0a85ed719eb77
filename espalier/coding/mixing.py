"""Probability of the next bit: adaptive contexts, logistic mixing (Mahoney 2005, section 3).

The reader has to compute the same numbers as the writer, on any machine. So no function of the
mathematical library is called, whose last digits differ between systems: only sums, products and
quotients of doubles.
"""

from collections.abc import Hashable, Sequence

_STEPS = 128  # entries of the table from log odds to probability, per unit of log odds
_LARGEST = 12 * _STEPS  # log odds beyond 12 count as 12
_GROWTH = 1.007843097206448  # exp(1 / 128)
_FINE = 4096  # entries of the table from probability to log odds


def _probability_table() -> list[float]:
    """The probabilities of log odds from -12 to 12."""
    odds = [1.0]
    for _ in range(_LARGEST):
        odds.append(odds[-1] * _GROWTH)
    upper = [value / (1 + value) for value in odds]
    lower = [1 - value for value in reversed(upper[1:])]
    return lower + upper


def _log_odds_table(probabilities: list[float]) -> list[float]:
    """The inverse: the log odds at the middle of each of `_FINE` equal parts of [0, 1]."""
    found = []
    place = 0
    for part in range(_FINE):
        middle = (part + 0.5) / _FINE
        while place < 2 * _LARGEST and probabilities[place] < middle:
            place += 1
        found.append((place - _LARGEST) / _STEPS)
    return found


_PROBABILITIES = _probability_table()
_LOG_ODDS = _log_odds_table(_PROBABILITIES)
_LARGEST_COUNT = 1023  # bits that a context counts
# learning rate of a context's mean, by the number of bits it has counted
_RATES = [1 / (count + 2) for count in range(_LARGEST_COUNT + 1)]
_INITIAL_COUNT = (
    2  # weight, in bits, of the probability that a new context takes from the first one
)
_MIXING_RATE = 0.02  # learning rate of the mixing weights
_INITIAL_WEIGHT = 0.3  # mixing weight of each context but the first


class Predictor:
    """Predicts bits of several kinds, each from contexts of its own, and learns from each bit.

    The first context of a kind is the most general one. A new context begins with the probability
    of the first, and the mixture adds up by how much the log odds of each context differ from those
    of the first.
    """

    def __init__(self) -> None:
        self._states: dict[Hashable, list[float]] = {}  # probability of a one, bits counted
        self._weights: dict[Hashable, list[float]] = {}
        self._last_states: list[list[float]] = []
        self._last_inputs: list[float] = []
        self._last_weights: list[float] = []
        self._probability = 0.5

    def predict(self, kind: Hashable, contexts: Sequence[Hashable]) -> float:
        """The probability in (0, 1) of a one; a kind has a fixed number of contexts."""
        weights = self._weights.get(kind)
        if weights is None:
            weights = [1.0] + [_INITIAL_WEIGHT] * (len(contexts) - 1)
            self._weights[kind] = weights
        general = self._state((kind, 0, contexts[0]), 0.5, 0)
        origin = _LOG_ODDS[int(general[0] * _FINE)]
        states = [general]
        inputs = [origin]
        total = weights[0] * origin
        for number in range(1, len(contexts)):
            state = self._state((kind, number, contexts[number]), general[0], _INITIAL_COUNT)
            difference = _LOG_ODDS[int(state[0] * _FINE)] - origin
            total += weights[number] * difference
            states.append(state)
            inputs.append(difference)
        place = int(total * _STEPS)
        place = max(-_LARGEST, min(place, _LARGEST))
        self._last_states = states
        self._last_inputs = inputs
        self._last_weights = weights
        self._probability = _PROBABILITIES[place + _LARGEST]
        return self._probability

    def learn(self, bit: int) -> None:
        """Update the contexts and the weights of the last prediction by its bit."""
        error = (bit - self._probability) * _MIXING_RATE
        weights = self._last_weights
        inputs = self._last_inputs
        for number, state in enumerate(self._last_states):
            weights[number] += error * inputs[number]
            count = state[1]
            state[0] += (bit - state[0]) * _RATES[int(count)]
            if count < _LARGEST_COUNT:
                state[1] = count + 1

    def _state(self, key: Hashable, probability: float, count: float) -> list[float]:
        state = self._states.get(key)
        if state is None:
            state = [probability, count]
            self._states[key] = state
        return state

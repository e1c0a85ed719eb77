"""Sentences about waiting, reported at once and again at growing intervals."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST = 15.0  # seconds after which a sentence is reported for the second time
_GROWTH = 2.0
_LONGEST = 1800.0  # seconds between two reports, at most


@dataclass
class Reminder:
    """Reports that something is waited for: at once, then after 15 s, 30 s, 60 s and so on up to half an hour.

    Attributes:
        report: receives the sentence.
    """

    report: Callable[[str], None]
    _said: str = ""
    _interval: float = FIRST
    _began: float = field(default_factory=lambda: time.monotonic())
    _next: float = 0.0

    def say(self, sentence: str) -> None:
        """Report a sentence if it is another one than before, or its interval has passed."""
        now = time.monotonic()
        if sentence == self._said and now < self._next:
            return
        again = sentence == self._said
        self._interval = min(self._interval * _GROWTH, _LONGEST) if again else FIRST
        self._next = now + self._interval
        self._said = sentence
        self.report(f"{sentence} ({duration(now - self._began)} so far)" if again else sentence)


def duration(seconds: float) -> str:
    """A time span in words.

    Example:
        >>> duration(95.2), duration(7300)
        ('1 min 35 s', '2 h 1 min')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""Speed-ups and their noise bands."""

import numpy as np
from scipy.stats import t

from espalier.judging.interval import LEVEL, Interval

_TRIMMED = 0.2  # of the sittings, at either end
# the relative difference of two evaluations that the sittings of one do not show (docs/judging.md)
_BETWEEN = 0.05


def ratio(
    ours: np.ndarray, reference: np.ndarray, level: float = LEVEL, between: float = _BETWEEN
) -> Interval:
    """The speed-up over a reference, with the band in which another evaluation would find it.

    Within a round both are timed one after the other, so the quotient of a round is free of what
    slows both. The figure of a sitting is the median over its rounds. A neighbour spoils a sitting
    now and then, so the fifth of them with the largest figures and the fifth with the smallest are
    left out: the result is the trimmed geometric mean, and the band comes from the Winsorized
    variance of the logarithms (Tukey and McLaughlin 1963; Yuen 1974). It is for the result of as
    many sittings again, on the same machine, and so wider than an interval of the mean by the root
    of
    2. To it `between` is added, as errors that are independent.

    Args:
        ours: Seconds of the model's calls (sittings, rounds).
        reference: Seconds of the reference's calls, likewise.
        level: level of the band.
        between: The part by which evaluations differ beyond what their sittings show.

    Returns:
        The ratio with its band. Of a single sitting, the band is not known: from 0 to infinity.
    """
    sittings = np.sort(np.log(np.median(reference / ours, axis=1)))
    count, out = len(sittings), int(_TRIMMED * len(sittings))
    kept = sittings[out : count - out]
    mean = float(kept.mean())
    if count < 2:
        return Interval(float(np.exp(mean)), 0.0, float("inf"))
    winsorized = np.clip(sittings, kept[0], kept[-1])
    error = winsorized.std(ddof=1) * np.sqrt(count) / len(kept)
    half = np.hypot(t.ppf((1 + level) / 2, len(kept) - 1) * error * np.sqrt(2), between)
    return Interval(*(float(value) for value in np.exp([mean, mean - half, mean + half])))

"""How many times as fast, and how far that figure is to be trusted."""

import numpy as np
from scipy.stats import t

from espalier.judging.interval import LEVEL, Interval

_BETWEEN = 0.02  # what two evaluations differ by that the sittings of one do not tell: measured, docs/judging.md


def ratio(ours: np.ndarray, reference: np.ndarray, level: float = LEVEL, between: float = _BETWEEN) -> Interval:
    """How many times as fast as the reference a model is, with the band in which another evaluation would find it.

    Within a round both are timed one after the other, so the quotient of a round is free of what slows both. The
    figure of a sitting is the median over its rounds, and the result their geometric mean. The band is the prediction
    interval of a normal mean, of the logarithms: it is for the result of as many sittings again, on the same machine,
    and wider than an interval of the mean by the root of 2. To it `between` is added, as errors that are independent.

    Args:
        ours: Seconds of the model's calls (sittings, rounds).
        reference: Seconds of the reference's calls, likewise.
        level: Of the band.
        between: The part by which evaluations differ beyond what their sittings show.

    Returns:
        The ratio with its band. Of a single sitting, the band is not known: from 0 to infinity.
    """
    sittings = np.log(np.median(reference / ours, axis=1))
    mean, count = float(sittings.mean()), len(sittings)
    if count < 2:
        return Interval(float(np.exp(mean)), 0.0, float("inf"))
    half = np.hypot(t.ppf((1 + level) / 2, count - 1) * sittings.std(ddof=1) * np.sqrt(2 / count), between)
    return Interval(*(float(value) for value in np.exp([mean, mean - half, mean + half])))

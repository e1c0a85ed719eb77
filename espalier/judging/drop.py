"""The interval of the difference of two accuracies on the same examples.

Neither scipy nor statsmodels (0.15) has an interval for this difference. Of those in the
literature, Tango's has the coverage that it claims where few answers differ, as for a good
compressed model (tests/judging/test_simulation.py). The bootstrap does not: without a lost answer
in the sample, no resample has one, and the interval has length 0. Newcombe's method 10 passes up to
4 % of models at the margin instead of 2.5 %.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import elementwise
from scipy.stats import norm

from espalier.judging.interval import LEVEL

_INSIDE = 1e-12  # above the estimate, at which the score of a table without a difference is 0 / 0


def drop_interval(
    lost: ArrayLike, gained: ArrayLike, total: ArrayLike, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """The score interval of the drop in accuracy: all drops that the score test does not reject.

    Source: Tango (1998), "Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design": the inversion of eqs. 24 to 26.

    Args:
        lost: number of examples that only the reference has right, or an array of numbers.
        gained: number of examples that only the model has right, likewise.
        total: number of all examples, likewise.
        level: level of the interval.

    Returns:
        The lower and the upper bounds, in [-1, 1].

    Raises:
        ValueError: If counts are negative, or more answers differ than there are examples, or there
            are none.
    """
    lost, gained, total = np.broadcast_arrays(
        *(np.asarray(counts, dtype=float) for counts in (lost, gained, total))
    )
    if (np.minimum(lost, gained) < 0).any() or (lost + gained > total).any() or (total < 1).any():
        raise ValueError(
            "Expected counts to be 0 or more, together no more than the examples, of at least one; "
            f"found {lost.tolist()} lost, {gained.tolist()} gained, of {total.tolist()}."
        )
    z = float(norm.ppf((1 + level) / 2))
    return -_upper(gained, lost, total, z), _upper(lost, gained, total, z)


def score(
    lost: np.ndarray, gained: np.ndarray, total: np.ndarray, drop: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The numerator and the denominator of the score statistic of a drop.

    The numerator is the observed excess over the drop, in examples; the denominator is its standard
    deviation if that drop is the true one.

    Source: Tango's eq. 24, with the probability of a gained answer estimated under the drop.
    """
    probability = _gained_under(lost, gained, total, drop)
    variance = total * (2 * probability + drop * (1 - drop))
    return lost - gained - total * drop, np.sqrt(np.maximum(variance, 0))


def _upper(lost: np.ndarray, gained: np.ndarray, total: np.ndarray, z: float) -> np.ndarray:
    """The largest drop above the estimate at which the score is -z."""

    def above(
        drop: np.ndarray, lost: np.ndarray, gained: np.ndarray, total: np.ndarray
    ) -> np.ndarray:
        excess, deviation = score(lost, gained, total, drop)
        return excess + z * deviation

    estimate = (lost - gained) / total
    inside = np.minimum(estimate + _INSIDE, 1)
    found = elementwise.find_root(above, (inside, np.ones_like(inside)), args=(lost, gained, total))
    return np.where(estimate == 1, 1.0, found.x)


def _gained_under(
    lost: np.ndarray, gained: np.ndarray, total: np.ndarray, drop: np.ndarray
) -> np.ndarray:
    """The maximum likelihood estimate of the probability of a gained answer, under a drop.

    A lost answer is then more probable by `drop` (Tango's eqs. 25 and 26).

    The estimate is the larger root of 2 n x^2 + b x + c, where the derivative of the likelihood is
    0.
    """
    b = 2 * total * drop - (lost + gained) - (lost - gained) * drop
    c = -gained * drop * (1 - drop)
    spread = np.sqrt(np.maximum(b * b - 8 * total * c, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        root: np.ndarray = np.where(
            b > 0, -2 * c / (b + spread), (spread - b) / (4 * total)
        )  # neither form subtracts nearly equal numbers
    return root

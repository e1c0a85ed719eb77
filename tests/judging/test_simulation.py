"""Coverage of the intervals and the verdict, on synthetic answers of known true drops.

An interval of counts cannot cover 95 % exactly: with few differing answers there are few intervals
it can be. So the coverage is held to 95 % +- 1.5 where 20 differing answers are expected, and to no
less than that everywhere. The verdict is held to its 2.5 % everywhere. Tolerances are those, and
three standard errors of the simulation.
"""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest, multinomial, norm

from espalier.judging import drop_interval
from espalier.judging.drop import score

DRAWS = 20_000
SIZES = (200, 500, 2000, 10_000)
DIFFERING = (0.001, 0.005, 0.02, 0.05, 0.2)  # agreement from 99.9 to 80 %
LOST = (0.5, 0.6, 0.75, 1.0)  # the part of the differing answers that is lost: balanced to all


def error(rate: float) -> float:
    return 3 * (rate * (1 - rate) / DRAWS) ** 0.5


def intervals(lost: np.ndarray, gained: np.ndarray, total: int | np.ndarray, level: float = 0.95):
    """Each table once: many draws give the same."""
    total = np.broadcast_to(total, lost.shape)
    tables, which = np.unique(
        np.stack([lost, gained, total]).reshape(3, -1), axis=1, return_inverse=True
    )
    return tuple(bound[which].reshape(lost.shape) for bound in drop_interval(*tables, level))


@pytest.fixture(scope="module")
def simulated() -> list[tuple[int, float, float, float, float, float]]:
    """Size, differing, true drop, coverage, and how often the true drop lies above and below the interval."""
    rng = np.random.default_rng(0)
    rows = []
    for size, differing, part in itertools.product(SIZES, DIFFERING, LOST):
        chances = [differing * part, differing * (1 - part), 1 - differing]
        lost, gained, _ = rng.multinomial(size, chances, DRAWS).T
        drop = chances[0] - chances[1]
        low, high = intervals(lost, gained, size)
        above, below = (high < drop - 1e-9).mean(), (low > drop + 1e-9).mean()
        rows.append((size, differing, drop, 1 - above - below, above, below))
    return rows


def test_the_interval_of_the_drop_covers_it(simulated):
    for size, differing, drop, coverage, *_ in simulated:
        assert coverage >= 0.935 - error(0.95), (size, differing, drop)
        if size * differing >= 20:
            assert coverage <= 0.965 + error(0.95), (size, differing, drop)


def test_at_the_margin_no_more_pass_than_promised(simulated):
    """Non-inferior is whose upper bound is no larger than the margin; here the margin is the true drop."""
    rates = {row[:3]: row[4] for row in simulated if row[2] > 0}
    assert max(rates.values()) <= 0.025 + error(0.025), max(rates, key=rates.get)
    ample = [rate for (size, differing, _), rate in rates.items() if size * differing >= 100]
    assert np.mean(ample) > 0.02  # and it is not by being useless


def likelihoods(size: int, lost: float, gained: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All tables of positive probability: counts of lost and gained answers, and the probability of each pair."""
    counts = [
        np.arange(binom.ppf(1e-9, size, one), binom.ppf(1 - 1e-9, size, one) + 1)
        for one in (lost, gained)
    ]
    tables = np.stack(np.meshgrid(*counts, indexing="ij"), axis=-1)
    tables = tables[tables.sum(-1) <= size]
    full = np.column_stack([tables, size - tables.sum(-1)])
    return (
        tables[:, 0],
        tables[:, 1],
        multinomial.pmf(full, size, [lost, gained, 1 - lost - gained]),
    )


@pytest.mark.parametrize("size", [200, 359, 1000, 10_000])
def test_summed_over_all_tables_the_promise_is_kept_to_a_tenth_of_a_percent(size):
    """No draws here: the exact probability of a false pass, and of covering where 20 differing answers are expected."""
    z = norm.ppf(0.975)
    for differing, drop in itertools.product(
        DIFFERING, (0.0, 0.001, 0.0025, 0.01, 0.02, 0.05, 0.1)
    ):
        if drop > differing:
            continue
        lost, gained, probability = likelihoods(
            size, (differing + drop) / 2, (differing - drop) / 2
        )
        excess, deviation = score(lost, gained, np.float64(size), np.float64(drop))
        passed, above = (
            probability[excess < -z * deviation].sum(),
            probability[excess > z * deviation].sum(),
        )
        assert drop == 0 or passed <= 0.0262, (differing, drop)
        if size * differing >= 20:
            assert 0.944 <= 1 - passed - above <= 0.958, (differing, drop)


def test_models_that_lost_nothing_pass_with_a_margin_that_the_examples_can_show():
    rng = np.random.default_rng(1)
    lost, gained, _ = rng.multinomial(10_000, [0.005, 0.005, 0.99], DRAWS).T
    assert (intervals(lost, gained, 10_000)[1] <= 0.005).mean() > 0.98


@pytest.mark.parametrize(
    "sizes", [np.full(10, 100), np.geomspace(20, 1500, 10).astype(int)], ids=["balanced", "not"]
)
@pytest.mark.parametrize("worst", [0.0, 0.1])
def test_the_intervals_of_all_classes_hold_at_once(sizes, worst):
    """One class, the third smallest, has lost `worst`; of the others a part of the answers differs."""
    rng = np.random.default_rng(2)
    drops = np.where(np.arange(10) == 2, worst, 0.0)
    chances = np.stack([0.02 + drops, np.full(10, 0.02), 0.96 - drops], axis=1)
    counts = np.stack(
        [
            rng.multinomial(size, probability, DRAWS)
            for size, probability in zip(sizes, chances, strict=True)
        ],
        1,
    )
    low, high = intervals(counts[..., 0], counts[..., 1], sizes, 0.95 ** (1 / 10))
    assert ((low <= drops) & (drops <= high)).all(1).mean() >= 0.935 - error(0.95)
    assert (high.max(1) < worst).mean() <= 0.025 + error(0.025)


@pytest.mark.parametrize(
    ("size", "truth"), [(200, 0.5), (200, 0.95), (500, 0.99), (2000, 0.8), (10_000, 0.999)]
)
def test_the_interval_of_the_accuracy_covers_it(size, truth):
    right, times = np.unique(
        np.random.default_rng(3).binomial(size, truth, DRAWS), return_counts=True
    )
    bounds = [binomtest(int(one), size).proportion_ci(0.95, "wilson") for one in right]
    covered = sum(
        count for (low, high), count in zip(bounds, times, strict=True) if low <= truth <= high
    )
    assert abs(covered / DRAWS - 0.95) <= 0.015 + error(0.95)

import itertools
import math

import pytest

from espalier.training.recipe import Recipe
from espalier.training.schedules import SCHEDULES, constant, cosine, one_cycle

STEPS = 100


def test_every_schedule_can_be_asked_for_and_stays_between_nothing_and_the_whole_rate():
    assert set(SCHEDULES) == set(Recipe.__annotations__["schedule"].__args__)
    for schedule in SCHEDULES.values():
        assert all(0 < schedule(step, STEPS, 0.2) <= 1 for step in range(STEPS))


def test_constant_is_the_whole_rate():
    assert {constant(step, STEPS, 0.2) for step in range(STEPS)} == {1.0}


def test_cosine_falls_from_the_whole_rate_through_half_of_it_to_nothing():
    assert cosine(0, STEPS, 0.2) == 1
    assert cosine(STEPS // 2, STEPS, 0.2) == pytest.approx(0.5)
    assert cosine(STEPS - 1, STEPS, 0.2) == pytest.approx((1 - math.cos(math.pi / STEPS)) / 2)
    assert cosine(STEPS, STEPS, 0.2) == pytest.approx(0, abs=1e-12)


def test_one_cycle_rises_in_equal_steps_and_then_falls_as_half_a_cosine():
    rates = [one_cycle(step, STEPS, 0.2) for step in range(STEPS)]
    assert rates[0] == pytest.approx(1 / 21)
    assert max(rates) == rates[20] == 1
    rises = [after - before for before, after in itertools.pairwise(rates[:21])]
    assert rises == pytest.approx([1 / 21] * 20)
    assert rates[60] == pytest.approx(0.5)
    assert rates[99] == pytest.approx((1 - math.cos(math.pi / 80)) / 2)
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_without_a_rise_one_cycle_is_a_cosine():
    assert [one_cycle(step, STEPS, 0) for step in range(STEPS)] == [
        cosine(step, STEPS, 0) for step in range(STEPS)
    ]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_train_too(schedule, steps):
    assert all(0 < SCHEDULES[schedule](step, steps, 0.2) <= 1 for step in range(steps))

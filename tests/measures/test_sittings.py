"""Sittings: who is timed when, by which clocks."""

import time
from itertools import pairwise

import numpy as np
import pytest

from espalier.measures.sittings import SELDOM, Times, in_sittings

BATCHES = {1: np.zeros((1, 2)), 4: np.zeros((4, 2))}


class Opened:
    """Opens models that note when they are called, and with how many images."""

    def __init__(self):
        self.calls, self.times = [], 0

    def __call__(self):
        self.times += 1
        return {
            name: (lambda batch, name=name: self.calls.append((self.times, len(batch), name)))
            for name in "abc"
        }


@pytest.mark.parametrize(
    ("rounds", "sittings", "each"), [(3, 3, 1), (20, 20, 1), (60, 20, 3), (61, 20, 4)]
)
def test_every_sitting_opens_the_models_anew_and_times_each_as_often(rounds, sittings, each):
    opened = Opened()
    times = in_sittings(opened, BATCHES, dict.fromkeys(BATCHES, rounds))
    assert opened.times == sittings
    assert {size: set(taken) for size, taken in times.items()} == {1: set("abc"), 4: set("abc")}
    for taken in times.values():
        assert {one.wall.shape for one in taken.values()} == {
            one.busy.shape for one in taken.values()
        }
        assert taken["b"].wall.shape == (sittings, each)
    for sitting in range(1, sittings + 1):
        for size in BATCHES:
            order = "".join(
                name for number, count, name in opened.calls if (number, count) == (sitting, size)
            )
            first, calls = order[:3], order[3:]
            assert first == "abc"  # a call of each that finds memory
            assert calls[::2] == calls[1::2]  # each that is timed follows one of the same model
            turns = [calls[start : start + 6 : 2] for start in range(0, len(calls), 6)]
            assert len(turns) == each
            assert set(turns) <= {"abc", "cba"}
            assert all(turn != following for turn, following in pairwise(turns))


@pytest.mark.parametrize(("rounds", "each"), [(1, 1), (10, 1), (11, 2), (30, 3)])
def test_a_model_may_be_timed_in_a_tenth_of_the_rounds(rounds, each):
    """Each of its times stands beside one of the others in the same round."""
    opened = Opened()
    taken = in_sittings(opened, BATCHES, dict.fromkeys(BATCHES, 2 * rounds), 2, seldom="b")[4]
    assert taken["a"].wall.shape == (2, rounds)
    assert taken["b"].busy.shape == taken["a"].wall[:, ::SELDOM].shape == (2, each)
    names = [name for number, count, name in opened.calls if (number, count) == (1, 4)]
    assert (
        names.count("b") == 1 + 2 * each
    )  # one that finds memory, and an untimed call before each


def test_fewer_sittings_may_be_asked_for():
    opened = Opened()
    assert in_sittings(opened, BATCHES, {1: 60, 4: 20}, 10)[1]["a"].wall.shape == (10, 6)
    assert opened.times == 10


def test_the_clock_on_the_wall_sees_waiting_and_that_of_the_thread_work():
    def work(batch):
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    runs = {"waits": lambda batch: time.sleep(0.02), "works": work}
    taken = in_sittings(lambda: runs, {1: np.zeros(1)}, {1: 3})[1]
    assert (taken["waits"].wall >= 0.02).all()
    assert (taken["waits"].busy < 0.01).all()
    assert (taken["works"].busy >= 0.02).all()
    assert (taken["works"].wall >= taken["works"].busy - 1e-3).all()


def test_several_threads_are_compared_by_the_wall_and_one_by_its_work():
    times = Times(wall=np.array([[2.0]]), busy=np.array([[1.0]]))
    assert times.comparable(alone=True) == 1
    assert times.comparable(alone=False) == 2

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest

from espalier.errors import Stopped
from espalier.locks import try_lock
from espalier.tasks import slots
from espalier.tasks.slots import (
    Slot,
    find_devices,
    find_slots,
    hold_lock,
    parse_devices,
    take_slots,
)
from espalier.waiting import Reminder

GO = threading.Event  # an event that is never set


@pytest.fixture
def two(tmp_path):
    return (Slot(tmp_path / "a"), Slot(tmp_path / "b"))


def test_a_slot_is_taken_once_and_free_again(two):
    with take_slots(two, 1, GO()) as first, take_slots(two, 1, GO()) as second:
        assert len({*first.handles, *second.handles}) == 2
        third = threading.Event()

        def wait_for_third():
            with take_slots(two, 1, GO()):
                third.set()

        thread = threading.Thread(target=wait_for_third)
        thread.start()
        assert not third.wait(0.5)
    assert third.wait(5)
    thread.join()


def test_all_waits_until_every_slot_is_free_and_then_excludes(two):
    order = []
    with take_slots(two, 1, GO()):
        thread = threading.Thread(target=lambda: _note(two, "all", order))
        thread.start()
        time.sleep(0.5)
        assert order == []
        order.append("one ends")
    thread.join(5)
    assert order == ["one ends", "all"]


def _note(two, share, order):
    with take_slots(two, share, GO()):
        order.append(share)


@pytest.fixture
def four(tmp_path):
    return tuple(Slot(tmp_path / name, {"CUDA_VISIBLE_DEVICES": name}) for name in "abcd")


def test_a_stage_of_several_processes_has_a_slot_for_each_and_their_devices(four):
    with take_slots(four, 1, GO()), take_slots(four, 2, GO()) as place:
        assert len(place.handles) == 2
        assert place.environment == {"CUDA_VISIBLE_DEVICES": "b,c"}
        with take_slots(four, 1, GO()) as last:
            assert last.environment == {"CUDA_VISIBLE_DEVICES": "d"}


def test_a_number_above_that_of_the_slots_stands_for_all(two):
    with take_slots(two, 5, GO()) as place:
        assert len(place.handles) == 2


@pytest.mark.parametrize("demands", [(2, 2), (2, "all")])
def test_stages_that_need_several_slots_do_not_wait_for_each_other_in_a_circle(two, demands):
    """Slots become free one after the other, so that two stages could take one each."""
    done = []

    def work(demand):
        with take_slots(two, demand, GO()):
            done.append(demand)

    for count in range(1, 5):
        with ExitStack() as both:
            both.enter_context(take_slots(two, 1, GO()))
            with take_slots(two, 1, GO()):
                threads = [
                    threading.Thread(target=work, args=(one,), daemon=True) for one in demands
                ]
                for thread in threads:
                    thread.start()
                time.sleep(0.3)
            time.sleep(0.3)
        for thread in threads:
            thread.join(20)
        assert len(done) == count * len(demands)


def test_slots_that_are_collected_are_free_when_the_run_stops(two):
    stop = threading.Event()
    with take_slots(two, 1, GO()):
        threading.Timer(0.5, stop.set).start()
        with pytest.raises(Stopped), take_slots(two, 2, stop):
            pytest.fail("both slots were taken")
        with take_slots(two, 1, GO()) as place:
            assert len(place.handles) == 1


def test_demand_none_needs_no_slot(two):
    with take_slots(two, "all", GO()), take_slots(two, "none", GO()) as place:
        assert place.handles == ()


def test_waiting_is_reported_once_and_ends_when_the_run_stops(two):
    reported, stop = [], threading.Event()
    reminder = Reminder(reported.append)
    with take_slots(two, "all", GO()):
        threading.Timer(0.7, stop.set).start()
        with (
            pytest.raises(Stopped),
            take_slots(two, 1, stop, lambda: reminder.say("waiting")),
        ):
            pytest.fail("the slot was taken")
    assert reported == ["waiting"]


def test_slot_of_a_killed_process_is_free(tmp_path):
    code = (
        "import sys, threading, time, pathlib; from tasks.slots import hold_lock\n"
        "with hold_lock(pathlib.Path(sys.argv[1]), threading.Event()):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert try_lock(tmp_path / "a") is None
        holder.kill()
        holder.wait()
    with hold_lock(tmp_path / "a", GO()) as handle:
        assert handle > 0


def test_slot_stays_taken_while_the_stage_that_inherited_it_runs(two):
    with take_slots(two[:1], 1, GO()) as place:
        stage = subprocess.Popen(["sleep", "60"], pass_fds=place.handles)
    try:
        assert try_lock(two[0].path) is None
    finally:
        stage.kill()
        stage.wait()
    handle = try_lock(two[0].path)
    assert handle is not None
    os.close(handle)


def test_without_gpus_the_processors_are_divided_by_the_threads_of_a_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(slots, "count_processors", lambda: 7)
    assert len(find_slots(tmp_path, threads=2)) == 3
    assert len(find_slots(tmp_path, threads=16)) == 1


def test_visible_devices_are_respected(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert [slot.environment for slot in find_slots(tmp_path, 1)] == [
        {"CUDA_VISIBLE_DEVICES": "2"},
        {"CUDA_VISIBLE_DEVICES": "5"},
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert find_devices() == ()


def test_devices_are_whole_gpus_or_mig_partitions():
    listing = (
        "GPU 0: NVIDIA A100 80GB PCIe (UUID: GPU-aaa)\n"
        "  MIG 3g.40gb     Device  0: (UUID: MIG-one)\n"
        "  MIG 3g.40gb     Device  1: (UUID: MIG-two)\n"
        "GPU 1: NVIDIA A100 80GB PCIe (UUID: GPU-bbb)\n"
    )
    assert parse_devices(listing) == ("MIG-one", "MIG-two", "GPU-bbb")


def test_quota_of_a_container_limits_the_processors(tmp_path, monkeypatch):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(slots, "_QUOTA", quota)
    quota.write_text("max 100000\n")
    unlimited = slots.count_processors()
    quota.write_text("100000 100000\n")
    assert (slots.count_processors(), unlimited) == (1, len(os.sched_getaffinity(0)))

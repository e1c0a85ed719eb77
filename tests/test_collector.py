import gc

import pytest

from espalier.collector import paused_collector


@pytest.fixture
def collections():
    """The generation of each collection, as it begins."""
    begun = []

    def note(phase, info):
        if phase == "start":
            begun.append(info["generation"])

    gc.callbacks.append(note)
    yield begun
    gc.callbacks.remove(note)


def fill():
    return [[number] for number in range(20 * gc.get_threshold()[0])]


def test_nothing_is_collected_inside_and_again_afterwards(collections):
    with paused_collector():
        kept = fill()
    assert collections == []
    assert gc.get_freeze_count() == 0
    kept += fill()
    assert collections


def test_the_collector_is_as_it_was_also_after_an_error(collections):
    with pytest.raises(ImportError), paused_collector():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with paused_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

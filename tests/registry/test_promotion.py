"""Moves of an alias: one at a time, never without a version, and every attempt in the audit.

Everything holds in a local store and on a real server. A local store is locked while it is moved;
on a server two processes can move it, and a crashed one cannot be told from a slow one at once.
"""

import multiprocessing
import shutil
import signal
from itertools import pairwise

import pytest
from registry.aliases import LOST, MOVED, Place, crashing, exit_status, expired_at_once, wrap
from registry.servers import serving

from espalier.registry.promotion.alias_moves import complete_unfinished_moves, previous_version
from espalier.registry.promotion.audit import Audit, State
from espalier.registry.promotion.errors import ConcurrentMoveError


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def local(tmp_path, empty_store):
    shutil.copytree(empty_store, tmp_path / "mlflow" / "store")
    return Place.of(tmp_path, f"sqlite:///{tmp_path}/mlflow/store/mlflow.db")


@pytest.fixture
def on_server(tmp_path, server):
    return Place.of(tmp_path, server)


@pytest.fixture(params=["local", "on_server"])
def place(request):
    return request.getfixturevalue(request.param)


def test_the_alias_moves_and_previous_stands_where_it_stood_and_the_audit_says_all(place):
    moved = place.move()
    assert (place.version_of("champion"), place.version_of("previous")) == ("2", "1")
    (line,) = place.lines()
    assert moved == line
    assert (line.number, line.alias, line.former, line.to, line.state) == (
        1,
        "champion",
        "1",
        "2",
        State.DONE,
    )
    assert (line.content, line.former_content, line.reason) == ("b" * 64, "a" * 64, "promoted")
    assert line.run == place.request.run
    assert "@" in line.who
    assert line.when > 1_700_000_000_000


def test_a_first_champion_has_no_previous_one(place):
    place.client.delete_registered_model_alias(place.name, "champion")
    place.move(expected=None, former_content=None)
    assert (place.version_of("champion"), place.version_of("previous")) == ("2", None)
    assert previous_version(place.registry, "champion") is None


def test_back_and_forth_leaves_a_line_each(place):
    place.move()
    place.move(expected="2", to="1", reason="rolled back")
    assert (place.version_of("champion"), place.version_of("previous")) == ("1", "2")
    assert [(line.former, line.to, line.reason) for line in place.lines()] == [
        ("1", "2", "promoted"),
        ("2", "1", "rolled back"),
    ]


def test_an_alias_that_stands_elsewhere_than_it_was_seen_stays_there(place):
    place.client.set_registered_model_alias(place.name, "champion", "3")
    with pytest.raises(ConcurrentMoveError, match=r"to stay at version 1.*version 3"):
        place.move()
    assert place.version_of("champion") == "3"
    assert place.states() == [State.LOST]


def test_a_concurrent_move_is_refused_unless_the_other_one_must_have_crashed(place):
    move = {
        "alias": "champion",
        "former": "1",
        "to": "3",
        "content": "c" * 64,
        "reason": "promoted",
    }
    Audit(place.client, place.name).open_move(place.request.run, **move)
    if place.local:  # this process holds the lock, so the writer of that line has crashed
        place.move()
    else:
        with pytest.raises(ConcurrentMoveError, match="moving it to version 3"):
            place.move()
        assert place.states() == [State.OPEN, State.LOST]
        assert place.version_of("champion") == "1"
        with expired_at_once():
            place.move()
    assert place.states() == [State.ABANDONED, *([] if place.local else [State.LOST]), State.DONE]
    assert place.version_of("champion") == "2"


def move_concurrently(place, tmp_path, meet, number):
    """Processes that move the alias at once, all having seen it at 1; on a server from a machine each."""
    versions = [str(2 + racer % 2) for racer in range(number)]
    racers = [
        place.move_in_a_process(
            meet, tmp_path / f"machine {racer}" if not place.local else None, to=to
        )
        for racer, to in enumerate(versions)
    ]
    return sorted(exit_status(racer) for racer in racers)


def assert_one_won(place, number):
    lines = place.lines()
    assert sorted(line.state for line in lines) == sorted(
        [State.DONE, *[State.LOST] * (number - 1)]
    )
    winner = next(line for line in lines if line.state is State.DONE)
    assert place.version_of("champion") == winner.to
    assert place.version_of("previous") == "1"
    return winner


def test_of_two_at_once_one_wins_and_both_are_in_the_audit(place, tmp_path):
    """They start together."""
    gate = multiprocessing.get_context("fork").Barrier(2)
    assert move_concurrently(place, tmp_path, lambda: gate.wait(100), 2) == [MOVED, LOST]
    assert_one_won(place, 2)


def test_of_two_who_have_both_said_what_they_want_the_first_to_say_it_wins(on_server, tmp_path):
    """Neither goes on before both lines are written, so that each sees the alias where it was."""
    gate = multiprocessing.get_context("fork").Barrier(2)
    meet = lambda: wrap("create_model_version", 1, after=lambda: gate.wait(100))  # noqa: E731
    assert move_concurrently(on_server, tmp_path, meet, 2) == [MOVED, LOST]
    assert assert_one_won(on_server, 2).number == 1


@pytest.mark.slow
@pytest.mark.parametrize("again", range(10))
def test_of_five_at_once_one_wins_however_often_it_is_tried(on_server, tmp_path, again):
    gate = multiprocessing.get_context("fork").Barrier(5)
    meet = lambda: wrap("create_model_version", 1, before=lambda: gate.wait(100))  # noqa: E731
    assert move_concurrently(on_server, tmp_path, meet, 5) == [MOVED, *[LOST] * 4]
    assert_one_won(on_server, 5)


STEPS = [
    ("create_model_version", 1, "before"),
    ("create_model_version", 1, "after"),
    ("set_registered_model_alias", 1, "before"),
    ("set_registered_model_alias", 1, "after"),
    ("set_registered_model_alias", 2, "before"),
    ("set_registered_model_alias", 2, "after"),
    ("set_model_version_tag", 1, "before"),
    ("set_model_version_tag", 1, "after"),
]
SAID, SET, SETTLED = (
    1,
    3,
    7,
)  # from these steps on: the line is there, the alias has moved, the line is closed


@pytest.mark.parametrize(
    "step", range(len(STEPS)), ids=["-".join(map(str, step)) for step in STEPS]
)
@pytest.mark.parametrize("kind", ["local", "on_server"])
def test_killed_at_any_step_the_alias_is_the_old_or_the_new_and_the_next_move_ends_what_was_begun(
    request, kind, step
):
    place = request.getfixturevalue(kind)
    assert exit_status(place.move_in_a_process(crashing(*STEPS[step]))) == -signal.SIGKILL
    stands = "2" if step >= SET else "1"
    assert place.version_of("champion") == stands
    begun = State.DONE if step >= SETTLED else State.OPEN
    assert place.states() == ([begun] if step >= SAID else [])
    assert previous_version(place.registry, "champion") == ("1" if step >= SET else None)
    waited = kind == "on_server" and begun is State.OPEN and step >= SAID
    if waited:  # the writer of that line may be running
        with pytest.raises(ConcurrentMoveError, match="moving it to version 2"):
            place.move(expected=stands, to="3")
        assert place.version_of("champion") == stands
    with expired_at_once():
        place.move(expected=stands, to="3")
    assert (place.version_of("champion"), place.version_of("previous")) == ("3", stands)
    died = [State.DONE if step >= SET else State.ABANDONED] if step >= SAID else []
    assert place.states() == [*died, *([State.LOST] if waited else []), State.DONE]


def test_a_promotion_without_a_move_finishes_one_that_crashed_after_its_move(place):
    assert (
        exit_status(place.move_in_a_process(crashing("set_registered_model_alias", 2, "before")))
        == -signal.SIGKILL
    )
    assert place.version_of("previous") is None
    complete_unfinished_moves(place.registry)
    if not place.local:
        assert place.states() == [State.OPEN]
        with expired_at_once():
            complete_unfinished_moves(place.registry)
    assert (place.version_of("previous"), place.states()) == ("1", [State.DONE])


def test_a_promotion_without_a_move_leaves_one_that_crashed_before_its_move(place):
    assert (
        exit_status(place.move_in_a_process(crashing("set_registered_model_alias", 1, "before")))
        == -signal.SIGKILL
    )
    with expired_at_once():
        complete_unfinished_moves(place.registry)
    assert (place.version_of("champion"), place.version_of("previous")) == ("1", None)
    assert place.states() == [State.OPEN]


def test_the_former_version_of_an_alias_comes_from_its_own_moves(local):
    for former, to in pairwise("1213"):
        local.move(expected=former, to=to)
    local.client.set_registered_model_alias(local.name, "small", "1")
    local.move(alias="small", expected="1", to="2")  # `previous` is of this one now
    assert local.version_of("previous") == "1"
    assert previous_version(local.registry, "small") == "1"
    assert previous_version(local.registry, "champion") == "1"
    local.client.set_registered_model_alias(local.name, "champion", "2")  # by hand, past the audit
    assert previous_version(local.registry, "champion") == "3"


def test_the_line_of_a_lost_move_is_no_former_version(local):
    local.move()
    with pytest.raises(ConcurrentMoveError):
        local.move(expected="1", to="3")
    assert previous_version(local.registry, "champion") == "1"


def test_the_audit_of_a_model_that_was_never_moved_is_empty(place):
    assert place.lines() == []

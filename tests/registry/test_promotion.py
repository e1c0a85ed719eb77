"""An alias that is moved: by one at a time, never nowhere, and told in the audit whatever happens."""

import os
import signal
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from espalier.registry import register
from espalier.registry.audit import Audit, State
from espalier.registry.promotion import OvertakenError, Swap, swap, where
from espalier.registry.store import connect, find_store


def in_a_process(project, wish, call="", number=0, when=""):
    """Move the alias in a process of its own, which dies just before or just after one call of the store."""
    child = os.fork()  # seconds faster than a new interpreter, which would have to import MLflow
    if child:
        return child
    status = 1
    try:
        if call:
            die_at(call, number, when)
        with connect(find_store(project.root)) as client:
            swap(client, "digits", wish, alone=True)
        status = 0
    except OvertakenError:
        status = 3
    finally:
        os._exit(status)


def die_at(call, number, when):
    real, made = getattr(MlflowClient, call), []

    def dying(*given, **more):
        made.append(1)
        if len(made) == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*given, **more)
        if len(made) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(MlflowClient, call, dying)


@pytest.fixture
def registered(project):
    """Three versions, the champion at the first, and a run that stands for the report."""
    register(project.root, project.params)
    client = MlflowClient(find_store(project.root).uri)
    client.set_registered_model_alias("digits", "champion", "1")
    run = client.create_run(client.get_experiment_by_name("digits").experiment_id).info.run_id
    return project, client, Swap("champion", "1", "2", "b" * 64, "a" * 64, "promoted", run)


def test_the_alias_moves_and_previous_stands_where_it_stood_and_the_audit_says_all(registered):
    _, client, wish = registered
    swap(client, "digits", wish, alone=True)
    assert (where(client, "digits", "champion"), where(client, "digits", "previous")) == ("2", "1")
    (line,) = Audit(client, "digits").moves()
    assert (line.number, line.alias, line.former, line.to, line.state) == (1, "champion", "1", "2", State.DONE)
    assert (line.content, line.former_content, line.reason, line.run) == ("b" * 64, "a" * 64, "promoted", wish.run)
    assert "@" in line.who
    assert line.when > 1_700_000_000_000


def test_a_first_champion_has_no_previous_one(registered):
    _, client, wish = registered
    client.delete_registered_model_alias("digits", "champion")
    swap(client, "digits", replace(wish, expected=None, former_content=None), alone=True)
    assert (where(client, "digits", "champion"), where(client, "digits", "previous")) == ("2", None)


def test_back_and_forth_leaves_a_line_each(registered):
    _, client, wish = registered
    swap(client, "digits", wish, alone=True)
    swap(client, "digits", replace(wish, expected="2", to="1", reason="rolled back"), alone=True)
    assert (where(client, "digits", "champion"), where(client, "digits", "previous")) == ("1", "2")
    assert [(line.former, line.to, line.reason) for line in Audit(client, "digits").moves()] == [
        ("1", "2", "promoted"),
        ("2", "1", "rolled back"),
    ]


def test_an_alias_that_stands_elsewhere_than_it_was_seen_stays_there(registered):
    _, client, wish = registered
    client.set_registered_model_alias("digits", "champion", "3")
    with pytest.raises(OvertakenError, match=r"should still stand at version 1.*version 3"):
        swap(client, "digits", wish, alone=True)
    assert where(client, "digits", "champion") == "3"
    assert [line.state for line in Audit(client, "digits").moves()] == [State.LOST]


@pytest.mark.parametrize("alone", [False, True])
def test_who_comes_while_another_is_at_it_is_told_unless_that_one_must_be_dead(registered, alone):
    _, client, wish = registered
    Audit(client, "digits").add(wish.run, alias="champion", former="1", to="3", content="c" * 64, reason="promoted")
    if alone:  # the store is locked by us, so whoever wrote that line is no more
        swap(client, "digits", wish, alone=True)
        expected = [State.ABANDONED, State.DONE]
    else:
        with pytest.raises(OvertakenError, match="is moving it to version 3"):
            swap(client, "digits", wish, alone=False)
        expected = [State.OPEN, State.LOST]
    assert [line.state for line in Audit(client, "digits").moves()] == expected
    assert where(client, "digits", "champion") == ("2" if alone else "1")


def test_of_two_at_once_one_wins_and_both_are_in_the_audit(registered):
    """Both have seen version 1; each in a process of its own."""
    project, client, wish = registered
    racers = [in_a_process(project, replace(wish, to=to)) for to in ("2", "3")]
    assert sorted(os.waitstatus_to_exitcode(os.waitpid(racer, 0)[1]) for racer in racers) == [0, 3]
    lines = Audit(client, "digits").moves()
    assert sorted(line.state for line in lines) == [State.DONE, State.LOST]
    winner = next(line for line in lines if line.state is State.DONE)
    assert where(client, "digits", "champion") == winner.to
    assert where(client, "digits", "previous") == "1"


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


@pytest.mark.parametrize(("call", "number", "when"), STEPS)
def test_killed_at_any_step_the_alias_is_the_old_or_the_new_and_the_next_move_ends_what_was_begun(
    registered, call, number, when
):
    project, client, wish = registered
    died = os.waitpid(in_a_process(project, wish, call, number, when), 0)[1]
    assert os.waitstatus_to_exitcode(died) == -signal.SIGKILL
    moved = STEPS.index((call, number, when)) >= STEPS.index(("set_registered_model_alias", 1, "after"))
    assert where(client, "digits", "champion") == ("2" if moved else "1")
    lines = Audit(client, "digits").moves()
    assert len(lines) == (0 if (call, when) == ("create_model_version", "before") else 1)
    stands = where(client, "digits", "champion")
    with connect(find_store(project.root)) as again:
        swap(again, "digits", replace(wish, expected=stands, to="3"), alone=True)
    assert (where(client, "digits", "champion"), where(client, "digits", "previous")) == ("3", stands)
    states = [line.state for line in Audit(client, "digits").moves()]
    assert states == [*([State.DONE if moved else State.ABANDONED] if lines else []), State.DONE]


def test_the_audit_of_a_model_that_was_never_moved_is_empty(registered):
    _, client, _ = registered
    assert Audit(client, "digits").moves() == []

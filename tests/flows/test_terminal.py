"""The lines of a run, and on a terminal the bar of its stages."""

import io
import logging
import re
from functools import partial

import pytest
from rich.console import Console

from espalier.flows import terminal
from espalier.tasks.environment import locate_registry
from espalier.tasks.reporting import MARK

LOGGER = logging.getLogger("prefect.task_runs")


def report(name, message):
    LOGGER.warning("%s", message, extra={MARK: True, "task_run_name": name})


def run():
    report("teacher", "starts")
    report("teacher", "epoch 1/2")
    report("teacher", "done")
    report("prepare", "unchanged")


def test_in_a_pipe_there_are_lines_alone(capsys):
    with terminal.lines_on_terminal(8, 3):
        run()
        LOGGER.warning("a line of Prefect's own")
    assert capsys.readouterr().out.splitlines() == [
        "teacher   starts",
        "teacher   epoch 1/2",
        "teacher   done",
        "prepare   unchanged",
    ]


@pytest.mark.parametrize("again", [False, True])
def test_on_a_terminal_a_bar_counts_each_ended_stage_once(monkeypatch, again):
    text = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")  # a dumb terminal gets lines alone
    monkeypatch.setattr(
        terminal, "Console", partial(Console, file=text, force_terminal=True, width=80)
    )
    with terminal.lines_on_terminal(8, 3):
        run()
        if again:  # a stage that is tried again ends twice
            report("teacher", "done")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())  # without colours
    assert "teacher   epoch 1/2" in shown
    assert "2/3 stages made" in shown
    assert "3/3" not in shown


@pytest.mark.parametrize(
    ("line", "is_end"),
    [
        ("done", True),
        ("unchanged", True),
        ("failed: Expected a number; found x.", True),
        ("made by a worker on ann (CPU)", True),
        ("made before with the same inputs, found by a worker on ann (CPU)", True),
        ("handed to the queue 'gpu'", False),
        ("epoch 1/2", False),
    ],
)
def test_the_last_line_of_a_stage_is_known_wherever_it_was_made(line, is_end):
    ended = []
    handler = terminal.Lines(lambda _line: None, 8, ended.append)
    LOGGER.addHandler(handler)
    report("teacher", line)
    LOGGER.removeHandler(handler)
    assert ended == ["teacher"] * is_end


def test_no_handler_is_left():
    before = list(LOGGER.handlers)
    with terminal.lines_on_terminal(8, 3):
        assert LOGGER.handlers != before
    assert LOGGER.handlers == before


def test_the_registry_of_a_run_is_the_server_that_it_used(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert locate_registry().endswith("sqlite:///mlflow/store/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:PLANTED-word@127.0.0.1:5000")
    assert locate_registry() == "http://***@127.0.0.1:5000"

"""The Prefect server that all runs of a project share."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from espalier.locks import is_locked
from espalier.tasks.server import serve

LOSING = """
import json, os, signal, sys, threading, time
from contextlib import suppress
from pathlib import Path
from espalier.ending import interrupt_once, run_to_end
from espalier.errors import TryAgain
from espalier.tasks import server

home = Path(sys.argv[1])
server._TICK, server._AFTER_GIVING_UP = 0.05, {patience}


def kill():
    while True:
        with suppress(OSError, ValueError):
            os.kill(json.loads((home / "server.json").read_text())["pid"], signal.SIGKILL)
        time.sleep(0.05)


def command():
    {at_sigterm}
    threading.Thread(target=kill, daemon=True).start()
    try:
        with server.serve(home):
            time.sleep(600)
    except TryAgain as error:
        sys.stderr.write(f"espalier: {{error}}\\n")
        sys.exit(error.status)


run_to_end(command)
"""


def pid_of(home):
    return json.loads((home / "server.json").read_text())["pid"]


def is_healthy(url):
    with urllib.request.urlopen(f"{url}/health", timeout=60) as answer:
        return answer.status == 200


def wait_for(found):
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_runs_share_a_server_that_is_started_again_and_ends_with_the_last(tmp_path, monkeypatch):
    said = []
    (tmp_path / "queue.py").write_text("raise RuntimeError\n")  # a module of the user's project
    monkeypatch.chdir(tmp_path)
    with serve(tmp_path) as first:
        with serve(tmp_path) as second:
            second.wait_until_ready()
            assert (first.url, first.starts, second.starts) == (second.url, 1, 0)
        assert is_healthy(first.url)  # the end of one run does not end it
        with serve(tmp_path, said.append) as third:
            killed = pid_of(tmp_path)
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: is_locked(third.serving) and pid_of(tmp_path) != killed)
            assert is_healthy(third.url)
            assert first.url == third.url
    assert not is_locked(first.serving)
    assert len(said) <= 1  # one of the two runs has started it


@pytest.mark.parametrize(
    ("at_sigterm", "patience"),
    [
        pytest.param("interrupt_once()", 60, id="the run ends"),
        pytest.param("signal.signal(signal.SIGTERM, signal.SIG_IGN)", 1, id="the run does not end"),
    ],
)
def test_a_server_that_ends_too_often_stops_the_run_with_one_sentence(
    tmp_path, at_sigterm, patience
):
    program = LOSING.format(at_sigterm=at_sigterm, patience=patience)
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 75
    assert re.fullmatch(
        r"espalier: .* found that it ended 4 times: see .*server\.log\..*\n", run.stderr
    )

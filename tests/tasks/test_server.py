"""The Prefect server that all runs of a project share."""

import json
import os
import signal
import time
import urllib.request

import pytest

from espalier.errors import TryAgain
from espalier.locks import is_locked
from espalier.tasks import server as module
from espalier.tasks.server import serve


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


def test_a_server_that_ends_too_often_stops_the_run_with_one_sentence(tmp_path, monkeypatch):
    interrupted, ended = [], []
    monkeypatch.setattr(module, "_TICK", 0.05)
    monkeypatch.setattr(module.os, "_exit", ended.append)
    monkeypatch.setattr(module, "_CLOSING", 0.1)
    former = signal.signal(signal.SIGTERM, lambda *_: interrupted.append(True))

    def run():
        with serve(tmp_path):
            while not interrupted:
                os.kill(pid_of(tmp_path), signal.SIGKILL)
                time.sleep(0.2)
            raise KeyboardInterrupt

    try:
        with pytest.raises(TryAgain, match=r"found that it ended 4 times: see .*server\.log"):
            run()
    finally:
        signal.signal(signal.SIGTERM, former)
    assert ended == [75]

import os
import subprocess
import sys
import threading
import time

import pytest

from espalier.errors import Stopped
from tasks import processes

# Starts a child that survives its parent unless the whole group is stopped.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import signal, sys, time
def stop(*_):
    print("checkpoint", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, {handler})
print("child", __import__("os").getpid(), flush=True)
time.sleep(60)
'''])
time.sleep({parent})
"""


def run(tmp_path, code, hear=lambda line: None, stop=None, **options):
    command = [sys.executable, "-u", "-c", code]
    stop = stop or threading.Event()
    return processes.run(
        command, folder=tmp_path, environment=os.environ, hear=hear, stop=stop, **options
    )


def alive(pid):
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


def child(lines):
    return next(int(line.split()[1]) for line in lines if line.startswith("child"))


def test_lines_are_heard_as_they_come_and_the_status_is_returned(tmp_path):
    heard = []
    status = run(
        tmp_path,
        "import sys, time; print('a'); time.sleep(0.5); print('b\\rc'); sys.stderr.write('last'); sys.exit(7)",
        lambda line: heard.append((line, time.monotonic())),
    )
    assert status == 7
    assert [line for line, _ in heard] == ["a", "c", "last"]
    assert heard[1][1] - heard[0][1] > 0.3


def test_more_output_than_a_pipe_holds_arrives_whole(tmp_path):
    heard = []
    run(tmp_path, "for number in range(50_000): print(number)", heard.append)
    assert heard == [str(number) for number in range(50_000)]


def test_stop_lets_the_whole_group_write_its_checkpoint(tmp_path):
    heard, stop = [], threading.Event()

    def hear(line):
        heard.append(line)
        if line.startswith("child"):
            stop.set()

    with pytest.raises(Stopped):
        run(tmp_path, FAMILY.format(handler="stop", parent=60), hear, stop, grace=10)
    assert "checkpoint" in heard
    assert not alive(child(heard))


def test_who_ignores_the_request_is_killed_after_the_grace(tmp_path):
    heard = []
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(
            tmp_path,
            FAMILY.format(handler="signal.SIG_IGN", parent=60),
            heard.append,
            timeout=1.5,
            grace=1.0,
        )
    assert not alive(child(heard))
    assert 2.4 < time.monotonic() - began < 12


def test_any_exception_ends_the_group(tmp_path):
    heard = []

    def hear(line):
        heard.append(line)
        if line.startswith("child"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FAMILY.format(handler="stop", parent=60), hear, grace=10)
    assert not alive(child(heard))


def test_nothing_is_left_when_only_the_command_dies(tmp_path):
    """As when DVC is killed and its stage lives on."""
    heard = []
    status = run(tmp_path, FAMILY.format(handler="stop", parent=1.0), heard.append, grace=10)
    assert status == 0
    assert "checkpoint" in heard
    assert not alive(child(heard))

import os
import subprocess
import sys
import threading
import time

import pytest

from espalier.errors import Stopped
from espalier.tasks import processes

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


def run(tmp_path, code, on_line=lambda line: None, stop=None, **options):
    command = [sys.executable, "-u", "-c", code]
    stop = stop or threading.Event()
    return processes.run(
        command, folder=tmp_path, environment=os.environ, on_line=on_line, stop=stop, **options
    )


def alive(pid):
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


def child(lines):
    return next(int(line.split()[1]) for line in lines if line.startswith("child"))


def test_lines_are_read_as_they_come_and_the_status_is_returned(tmp_path):
    lines = []
    status = run(
        tmp_path,
        "import sys, time; print('a'); time.sleep(0.5); print('b\\rc'); sys.stderr.write('last'); sys.exit(7)",
        lambda line: lines.append((line, time.monotonic())),
    )
    assert status == 7
    assert [line for line, _ in lines] == ["a", "c", "last"]
    assert lines[1][1] - lines[0][1] > 0.3


def test_more_output_than_a_pipe_holds_arrives_whole(tmp_path):
    lines = []
    run(tmp_path, "for number in range(50_000): print(number)", lines.append)
    assert lines == [str(number) for number in range(50_000)]


def test_stop_lets_the_whole_group_write_its_checkpoint(tmp_path):
    lines, stop = [], threading.Event()

    def on_line(line):
        lines.append(line)
        if line.startswith("child"):
            stop.set()

    with pytest.raises(Stopped):
        run(tmp_path, FAMILY.format(handler="stop", parent=60), on_line, stop, grace=10)
    assert "checkpoint" in lines
    assert not alive(child(lines))


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(tmp_path):
    lines = []
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(
            tmp_path,
            FAMILY.format(handler="signal.SIG_IGN", parent=60),
            lines.append,
            timeout=1.5,
            grace=1.0,
        )
    assert not alive(child(lines))
    assert 2.4 < time.monotonic() - began < 12


def test_any_exception_ends_the_group(tmp_path):
    lines = []

    def on_line(line):
        lines.append(line)
        if line.startswith("child"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FAMILY.format(handler="stop", parent=60), on_line, grace=10)
    assert not alive(child(lines))


def test_no_process_is_left_when_only_the_command_is_killed(tmp_path):
    """The case of a killed DVC whose stage is still running."""
    lines = []
    status = run(tmp_path, FAMILY.format(handler="stop", parent=1.0), lines.append, grace=10)
    assert status == 0
    assert "checkpoint" in lines
    assert not alive(child(lines))

"""A process that ends without taking down the interpreter has done everything else that Python does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest


def end(code: str, stdout: int | TextIO = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """A process that ends after `command`, a function of some lines."""
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    whole = (
        "import atexit, sys, threading, time, weakref\n"
        "from espalier.ending import run_to_end\n"
        f"def command():\n{lines}"
        "run_to_end(command)\nprint('not reached')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", whole],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("code", "status", "errors"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(75)", 75, ""),
        ("sys.exit(False)", 0, ""),
        ("sys.exit('a sentence')", 1, "a sentence\n"),
    ],
)
def test_its_status_is_that_of_the_command(code, status, errors):
    done = end(code)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", errors)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print('lost')", 120),
        ("print('lost'); sys.exit(75)", 75),
        ("pass", 0),
        ("sys.stdout.close()", 0),
        ("sys.stdout = None", 0),  # as of a process without standard output
    ],
)
def test_output_that_cannot_be_written_is_no_success(code, status):
    with Path("/dev/full").open("w") as full:
        assert end(code, stdout=full).returncode == status


def test_a_defect_is_printed():
    done = end("raise RuntimeError('a defect')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("RuntimeError: a defect\n")


def test_threads_handlers_and_streams_are_done_before():
    """In the order of Python, with output that is still in a buffer."""
    done = end(
        "class Kept: pass\n"
        "kept = Kept()\n"
        "atexit.register(print, 'handler')\n"
        "weakref.finalize(kept, print, 'finalizer')\n"
        "wait = lambda: (time.sleep(0.3), print('thread'))\n"
        "threading.Thread(target=wait).start()\n"
        "sys.stdout.write('written\\n')\n"
        "kept.itself = kept\n"
    )
    assert done.stdout.splitlines() == ["written", "thread", "finalizer", "handler"]
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupts_after_the_first_do_not_disturb_the_end():
    """Not even if Prefect has put the handler of SIGTERM back meanwhile."""
    done = end(
        "import os, signal\n"
        "from espalier.ending import interrupt_once\n"
        "def stop_stages():\n"
        "    for sign in (signal.SIGINT, signal.SIGTERM) * 10:\n"
        "        os.kill(os.getpid(), sign)\n"
        "        time.sleep(0.01)\n"
        "    threading.main_thread().join()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('all stages have ended')\n"
        "interrupt_once()\n"
        "former = signal.getsignal(signal.SIGTERM)\n"
        "try:\n"
        "    threading.Thread(target=stop_stages).start()\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    signal.signal(signal.SIGTERM, former)\n"
        "    sys.exit(143)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "all stages have ended\n", "")


def test_ctrl_c_at_the_end_of_any_command_is_no_traceback():
    done = end(
        "import os, signal\n"
        "def last():\n"
        "    threading.main_thread().join()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('thread')\n"
        "threading.Thread(target=last).start()\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "thread\n", "")


def test_modules_stay_out_of_the_way_of_collections():
    done = end(
        "import gc\n"
        "from espalier.collector import paused_collector\n"
        "with paused_collector():\n"
        "    import fractions\n"
        "print(gc.get_freeze_count() > 1000)"
    )
    assert done.stdout == "True\n"

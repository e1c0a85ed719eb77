"""The warm process: a stand-in is the command for the process that starts it, and the command ends with it."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from espalier.warm import client
from espalier.warm.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are watched on Linux alone")

HERE = Path(__file__).resolve().parent
PYTHON = [sys.executable, "-ISs", client.__file__]


@pytest.fixture
def cold(tmp_path):
    """The command without a server: a file that can be executed."""
    command = tmp_path / "command"
    command.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {HERE}/warm_command.py "$@"\n'
    )
    command.chmod(0o755)
    return command


@pytest.fixture
def server(tmp_path):
    """The process, with a socket in a folder of its own."""
    folder = tmp_path / "warm"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        handle = str(listener.fileno())
        module = [sys.executable, "-P", "-m", "espalier.warm.server", handle]
        process = subprocess.Popen(
            [*module, "warm_command:main", "no_such_module", "warm_command", "fractions"],
            env=server_environment(),
            stdin=subprocess.PIPE,
            pass_fds=(listener.fileno(),),
        )
    yield process
    process.communicate(timeout=10)
    assert not folder.exists()


@pytest.fixture
def start(tmp_path, cold, server):
    """Starts a stand-in."""

    def begin(*words: str, **named) -> subprocess.Popen[str]:
        named = {"env": server_environment(), "text": True, "stdout": subprocess.PIPE} | named
        address = str(tmp_path / "warm" / "socket")
        return subprocess.Popen([*PYTHON, address, str(cold), *words], **named)

    return begin


def server_environment(**further: str) -> dict[str, str]:
    """The variables of the server and some more."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**own, "PYTHONPATH": os.pathsep.join(sys.path), "FIXED": "a", **further}


def describe(process: subprocess.Popen[str], given: str = "") -> dict:
    """The description that the command prints."""
    output, _ = process.communicate(given, timeout=60)
    assert process.returncode == 0
    return json.loads(output)


def test_the_command_is_the_process_that_its_stand_in_was_started_as(start, tmp_path, cold):
    """Arguments, folder, variables that no text could hold, mask, and input are its own."""
    environment = server_environment(DVC_STAGE="model@a\nb", ESPALIER_OUTCOME="\udcff")
    process = start("describe", "ä b", "", cwd=tmp_path, env=environment, umask=0o027, stdin=-1)
    found = describe(process, "some input")
    assert found["argv"] == [str(cold), "describe", "ä b", ""]
    assert found["folder"] == str(tmp_path)
    assert found["environment"] == environment
    assert (found["mask"], found["input"]) == (0o027, "some input")


def test_forks_of_the_same_process_share_neither_random_numbers_nor_handles(start, server):
    both = [describe(start("describe", stdin=subprocess.DEVNULL)) for _ in range(2)]
    assert {one["parent"] for one in both} == {server.pid}
    assert both[0]["random"] != both[1]["random"]
    sleeping = start("sleep")
    sleeping.stdout.readline()
    beside = describe(start("describe", stdin=subprocess.DEVNULL))
    sleeping.kill()
    sleeping.communicate()
    assert beside["open"] == both[0]["open"]


@pytest.mark.parametrize(
    "further", [{"OMP_NUM_THREADS": "7"}, {"FIXED": "b"}, {"LD_BIND_NOW": "1"}], ids=str
)
def test_another_environment_needs_a_process_of_its_own(start, server, further):
    """Libraries read such variables while they are imported."""
    process = start("describe", env=server_environment(**further), stdin=subprocess.DEVNULL)
    found = describe(process)
    assert found["environment"].items() >= further.items()
    assert found["argv"][0] == str(HERE / "warm_command.py")  # as the command calls it


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("exit", "0"), 0),
        (("exit", "75"), 75),
        (("raise",), 1),
        (("kill", "9"), -9),
        (("kill", "11"), -11),
        (("kill", "15"), -15),
    ],
)
def test_it_ends_as_its_command_ends(start, words, status):
    process = start(*words, stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert ("RuntimeError: a defect" in errors) == (words == ("raise",))


def test_threads_and_exit_handlers_are_waited_for(start):
    process = start("late")
    assert process.communicate(timeout=60)[0] == "a thread\nan exit handler\n"
    assert process.returncode == 0


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(start, sign):
    if signal.getsignal(sign) is signal.SIG_IGN:
        pytest.skip("this process ignores it, and so do its children")
    process = start("sleep", stderr=subprocess.DEVNULL)
    process.stdout.readline()
    process.send_signal(sign)
    process.communicate(timeout=60)
    # Python ends with 1 after KeyboardInterrupt, when it is a fork that has caught it
    assert process.returncode in (-sign, 1)


def test_the_command_is_killed_with_its_stand_in(start):
    process = start("sleep")
    command = psutil.Process(int(process.stdout.readline()))
    process.kill()
    assert command.wait(timeout=10) is None  # no child of ours
    process.communicate()


@pytest.mark.parametrize("further", [{}, {"FIXED": "b"}], ids=["warm", "cold"])
def test_a_command_outlives_its_server_and_ends_its_stand_in_then(start, server, further):
    """Its status is lost: it counts as killed."""
    process = start("sleep", env=server_environment(**further))
    command = int(process.stdout.readline())
    server.kill()
    server.wait()
    time.sleep(0.2)
    assert process.poll() is None
    os.kill(command, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    for path in (Path(process.args[3]), Path(process.args[3]).parent):
        path.rmdir() if path.is_dir() else path.unlink()


def test_the_server_waits_for_its_last_command_when_the_run_has_ended(start, server, tmp_path):
    process = start("sleep")
    process.stdout.readline()
    server.stdin.close()
    server.stdin = None
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(timeout=0.5)
    assert not (tmp_path / "warm").exists()
    process.terminate()
    process.communicate(timeout=60)
    assert (process.returncode, server.wait(timeout=10)) == (-signal.SIGTERM, 0)


def test_without_a_server_the_stand_in_becomes_the_command(tmp_path, cold):
    words = [*PYTHON, str(tmp_path / "none"), str(cold), "describe", "a"]
    process = subprocess.Popen(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert describe(process)["argv"][1:] == ["describe", "a"]


def test_a_request_that_is_none_leaves_the_server_at_work(start, tmp_path):
    for content in (b"\n", b"{}\n", b"no end", b'{"command": 1}\n', b""):
        with socket.socket(socket.AF_UNIX) as connection, suppress(BrokenPipeError):
            connection.connect(str(tmp_path / "warm" / "socket"))
            connection.sendall(content)
    process = start("exit", "3")
    process.communicate(timeout=60)
    assert process.returncode == 3


def test_a_stand_in_that_waits_for_too_long_becomes_the_command_which_is_run_once(
    tmp_path, cold, server
):
    code = (
        "import sys; from espalier.warm import client\n"
        "client._PATIENCE = 0.3; client.main(sys.argv[1], sys.argv[2:])"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "warm" / "socket"), str(cold), "describe"]
    server.send_signal(signal.SIGSTOP)
    process = subprocess.Popen(
        words,
        env=server_environment(),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    process.wait(timeout=60)
    server.send_signal(signal.SIGCONT)
    assert describe(process)["parent"] == os.getpid()  # one description, and no second after it


def test_nothing_is_begun_for_a_client_that_has_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a stage was begun"))
    address = str(tmp_path / "socket")
    keys = {"command": ["a"], "folder": "/", "environment": {}, "mask": 0}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        with socket.socket(socket.AF_UNIX) as connection, (tmp_path / "file").open("w") as file:
            connection.connect(address)
            content = json.dumps(keys).encode() + b"\n"
            socket.send_fds(connection, [content], [file.fileno()] * 3)
        assert Server(listener, [])._accept() is None


def test_a_client_that_asks_for_nothing_delays_others_for_seconds(start, tmp_path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "warm" / "socket"))
        process = start("exit", "3")
        process.communicate(timeout=60)
    assert process.returncode == 3

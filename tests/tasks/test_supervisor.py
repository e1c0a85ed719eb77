"""The supervisor of services, with real processes: start, restart, end, and what a killed supervisor leaves."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest
from selection import mostly_slow

from espalier.errors import BadInput, TryAgain
from espalier.tasks.services import supervisor
from espalier.tasks.services.orchestration import workers
from espalier.tasks.services.passwords import Passwords, read_passwords
from espalier.tasks.services.postgres import await_former, can_run, find_programs
from espalier.tasks.services.service import Service, find_processes, http_answers
from espalier.tasks.services.settings import LOOPBACK, MARK, MARK_NAME, Ports, Settings
from espalier.tasks.services.supervisor import supervise

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
import http.server
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""

CHILD = """
import os, pathlib, signal, sys, time
worker = os.getppid()
def stop(sign, frame):
    pathlib.Path(sys.argv[1]).write_text("the worker runs" if os.getppid() == worker else "it has ended")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1] + ".ready").touch()
time.sleep(600)
"""
WORKER = f"""
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", {CHILD!r}, sys.argv[2]])
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def make_service(tmp_path):
    """Makes services that serve HTTP and have a child each; processes that are left are killed at the end."""
    started = []

    def make(name, command=None, port=None, **options):
        port = port or free_port()
        program = command or (sys.executable, "-c", PARENT, str(port))
        started.append(name)
        return Service(
            name=name,
            address=f"http://127.0.0.1:{port}",
            command=program,
            environment=os.environ | {MARK: str(tmp_path), MARK_NAME: name},
            probe=lambda: http_answers(f"http://127.0.0.1:{port}"),
            folder=tmp_path,
            listens=("127.0.0.1", port),
            **({"patience": 30.0, "grace": 5.0} | options),
        )

    yield make
    for name in started:
        for process in find_processes(tmp_path, name):
            process.kill()


@pytest.fixture
def run(tmp_path):
    """Runs services until a step, which is called when all have answered, raises; gives the reports."""

    def call(services, when_ready):
        lines = []
        supervise(services, tmp_path, tmp_path / "logs", lines.append, when_ready)
        return lines

    # a job in the background of a shell ignores it
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield call
    signal.signal(signal.SIGINT, former)


@contextmanager
def interrupting():
    """Interrupts the main thread at the end, however the block ends."""
    try:
        yield
    finally:
        os.kill(os.getpid(), signal.SIGINT)


def interrupt():
    raise KeyboardInterrupt


def running(tmp_path, name):
    return [one.pid for one in find_processes(tmp_path, name)]


def test_all_processes_of_all_services_end_with_the_supervisor(tmp_path, make_service, run):
    services = [make_service("first"), make_service("second")]
    found = []

    def look_and_end():
        found.extend(len(running(tmp_path, one.name)) for one in services)
        raise KeyboardInterrupt

    lines = run(services, look_and_end)
    assert found == [2, 2]  # each with its child
    assert [running(tmp_path, one.name) for one in services] == [[], []]
    assert [line.split()[0] for line in lines] == ["first", "second", "the"]


def test_a_service_that_was_killed_is_started_again_without_its_old_children(
    tmp_path, make_service, run, monkeypatch
):
    monkeypatch.setattr(supervisor, "_PAUSE", 0.0)
    completed, before, after = [], [], []
    service = replace(make_service("web"), complete=lambda: completed.append(1))

    def kill_and_wait():
        with interrupting():
            os.kill(before[0], signal.SIGKILL)
            wait_for(
                lambda: running(tmp_path, "web")[:1] not in ([], before[:1]) and service.answers()
            )
            after.extend(running(tmp_path, "web"))

    def when_ready():
        before.extend(running(tmp_path, "web"))
        threading.Thread(target=kill_and_wait).start()

    lines = run([service], when_ready)
    assert "web ended with status -9: it is started again" in lines[1]
    assert completed == [1]  # the step after the first answer is not repeated
    assert (len(before), len(after)) == (2, 2)
    assert not set(before) & set(after)


@pytest.mark.parametrize("restarted", mostly_slow([False, True], False))
def test_flow_runs_of_a_worker_outlive_it_and_are_ended_before_it(
    tmp_path, make_service, run, monkeypatch, restarted
):
    monkeypatch.setattr(supervisor, "_PAUSE", 0.0)
    port = free_port()
    command = (sys.executable, "-c", WORKER, str(port), str(tmp_path / "end"))
    service = replace(make_service("worker", command, port=port), children_work=True)
    before, after = [], []

    def step():
        with interrupting():
            if restarted:
                os.kill(before[0], signal.SIGKILL)
                wait_for(lambda: len(running(tmp_path, "worker")) == 3 and service.answers())
            after.extend(running(tmp_path, "worker"))

    def when_ready():
        wait_for(lambda: (tmp_path / "end.ready").exists())
        before.extend(running(tmp_path, "worker"))
        threading.Thread(target=step).start()

    run([service], when_ready)
    assert len(before) == 2
    assert before[1] in after
    assert restarted or (tmp_path / "end").read_text() == "the worker runs"


def wait_for(question, seconds=30):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_service_that_ends_too_often_is_given_up_and_the_others_are_ended(
    tmp_path, make_service, run, monkeypatch
):
    monkeypatch.setattr(supervisor, "_PAUSE", 0.0)
    port = free_port()
    program = f"import os, threading; threading.Timer(1, os._exit, [7]).start()\n{PARENT}"
    command = (sys.executable, "-c", program, str(port))
    broken = make_service("broken", command, port=port)
    with pytest.raises(TryAgain, match="broken to keep running; found that it ended 5 times"):
        run([make_service("steady"), broken], lambda: None)
    assert running(tmp_path, "steady") == []


def test_a_service_that_does_not_start_is_a_sentence_with_its_log(tmp_path, make_service, run):
    service = make_service("web", command=(sys.executable, "-c", "print('no such file'); exit(3)"))
    with pytest.raises(TryAgain, match=r"found that it ended with status 3: see .*web\.log"):
        run([service], interrupt)
    assert "no such file" in (tmp_path / "logs" / "web.log").read_text()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[{",  # cut off
        b"another protocol\r\n\r\n",
        b'HTTP/1.1 200 OK\r\n\r\n[{"status": "ONLINE"}]',
        b"HTTP/1.1 200 OK\r\n\r\nnull",
    ],
)
def test_a_service_with_a_wrong_answer_does_not_answer(tmp_path, answer):
    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server((LOOPBACK, 0)) as listener:
        ports = Ports(prefect=listener.getsockname()[1])
        passwords = Passwords("", "", "", "", "")
        worker = workers(Settings(tmp_path, tmp_path, LOOPBACK, ports, (), 1, passwords))[0]
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        assert not worker.answers()
        server.join()


def test_a_port_that_another_program_has_is_named(make_service, run):
    service = make_service("web")
    with (
        socket.create_server(service.listens),
        pytest.raises(BadInput, match=rf"port {service.listens[1]} .* or give --web-port"),
    ):
        run([service], interrupt)


def test_services_of_a_killed_supervisor_are_ended_by_the_next_one(tmp_path, make_service, run):
    service = make_service("web")
    left = subprocess.Popen(service.command, env=dict(service.environment), start_new_session=True)
    wait_for(service.answers)
    seen = []

    def look_and_end():
        seen.extend(running(tmp_path, "web"))
        raise KeyboardInterrupt

    run([service], look_and_end)
    left.wait(10)
    assert seen
    assert left.pid not in seen


def test_a_second_supervisor_of_the_same_data_is_refused(tmp_path, make_service, run):
    def second():
        with pytest.raises(BadInput, match=rf"no other supervisor .* found process {os.getpid()} "):
            supervise([make_service("other")], tmp_path, tmp_path, print, interrupt)
        raise KeyboardInterrupt

    run([make_service("web")], second)


def test_passwords_are_drawn_once_and_only_their_owner_can_read_them(tmp_path):
    path = tmp_path / "folder" / "passwords.json"
    drawn = read_passwords(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_passwords(path) == drawn
    assert len({drawn.postgres, drawn.s3, drawn.mlflow, drawn.mlflow_key, drawn.prefect}) == 5
    path.chmod(0o640)
    with pytest.raises(BadInput, match="readable by its owner alone; found mode 640"):
        read_passwords(path)
    path.chmod(0o600)
    path.write_text('{"postgres": "x"}')
    with pytest.raises(BadInput, match="found no s3: restore the file"):
        read_passwords(path)


def test_data_of_another_version_of_postgres_are_not_opened(tmp_path):
    if not can_run():
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    assert (find_programs(tmp_path) / "initdb").exists()
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(BadInput, match=r"Expected PostgreSQL 9, which has written .*; found \d+"):
        find_programs(tmp_path)


def test_a_new_postgres_waits_for_the_end_of_the_former_one(tmp_path):
    former = subprocess.Popen([sys.executable, "-c", ""])
    (tmp_path / "postmaster.pid").write_text(f"{former.pid}\n{tmp_path}\n")
    time.sleep(1.0)  # it has ended; its number stays until it is reaped
    assert psutil.pid_exists(former.pid)
    threading.Timer(1.0, former.wait).start()
    began = time.monotonic()
    await_former(tmp_path)
    assert 0.5 < time.monotonic() - began < 10
    await_former(tmp_path / "nothing")

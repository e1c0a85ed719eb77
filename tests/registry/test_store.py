import errno
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from registry.projects import Project

from espalier.errors import BadInput, EspalierError, ServerAway, TryAgain
from espalier.locks import hold_in_turn, record_holder, try_lock
from espalier.registry import missing, register
from espalier.registry.connection.failures import translated
from espalier.registry.connection.local_database import probe
from espalier.registry.connection.store import connect, find_store


@pytest.fixture
def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def silent_port():
    """A server that takes a connection and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("http://tracking.example:99999", "the port .* to be a number up to 65535"),
        ("postgresql://ann:secret@db:port/mlflow", "the port .* to be a number up to 65535"),
        (
            "postgresql+absent://ann:secret@db/mlflow?password=secret",
            "the driver .* to be installed; found: ",
        ),
        ("mssql://ann:secret@db/mlflow", "the driver .* to be installed; found: .*pyodbc"),
    ],
)
def test_an_address_that_no_connection_can_have_is_refused_before_one_is_tried(
    tmp_path, uri, found
):
    with pytest.raises(BadInput, match=found) as refused, connect(find_store(tmp_path, uri)):
        pass
    assert "secret" not in str(refused.value)


def test_a_kind_of_store_that_mlflow_does_not_know_is_refused_with_the_known_ones(tmp_path):
    store = find_store(tmp_path, "redis://ann:secret@db/1")
    with (
        pytest.raises(BadInput, match=r"store that MLflow knows; found .*http") as refused,
        connect(store) as client,
    ):
        client.search_registered_models()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (None, "sqlite:///mlflow/store/mlflow.db"),
        ("", "sqlite:///mlflow/store/mlflow.db"),
        ("sqlite:///mlflow/store/mlflow.db", "sqlite:///mlflow/store/mlflow.db"),
        ("sqlite:////elsewhere/mlflow.db", "sqlite:////elsewhere/mlflow.db"),
        ("https://tracking.example:5000/path", "https://tracking.example:5000/path"),
        ("https://ann:secret@tracking.example", "https://ann@tracking.example"),
        ("postgresql://ann:se/cr@et@db:5432/mlflow?password=secret", None),
    ],
)
def test_a_store_is_shown_without_a_password_and_relative_to_the_project(
    tmp_path, monkeypatch, uri, shown
):
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    store = find_store(tmp_path)
    assert "secret" not in store.shown
    assert str(tmp_path) not in store.shown
    if shown is not None:
        assert store.shown == shown


def test_a_relative_database_is_relative_to_the_project_and_keeps_its_files_beside_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other/mlflow.db")
    store = find_store(tmp_path)
    assert store.uri == f"sqlite:///{tmp_path}/other/mlflow.db"
    assert store.artifacts == "other/artifacts"


@pytest.mark.parametrize("uri", ["mlruns", "file:///srv/mlruns", "/srv/mlruns"])
def test_a_store_of_plain_files_is_refused(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(BadInput, match=f"to be the address of a server .*; found '{uri}'"):
        find_store(tmp_path)


@pytest.mark.parametrize("act", [register, missing])
def test_an_unreachable_server_is_reported_soon_and_retried(
    tmp_path, monkeypatch, closed_port, act
):
    project = Project(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{closed_port}")
    began = time.monotonic()
    with pytest.raises(ServerAway, match=f"http://ann@127.0.0.1:{closed_port} to accept") as caught:
        act(project.root, project.params)
    assert time.monotonic() - began < 20
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch, silent_port):
    project = Project(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServerAway, match=f"127.0.0.1:{silent_port}"):
        register(project.root, project.params)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_while_a_server_is_used_is_no_server_that_is_away(number):
    with pytest.raises(TryAgain) as caught, translated("http://127.0.0.1:9", "the server"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is TryAgain


KILLED_WRITER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # a cache of one page: changes reach the file before the commit
connection.execute("BEGIN")
connection.executemany("INSERT INTO experiments (name) VALUES (?)", [(str(n) * 500,) for n in range(50)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_database_whose_writer_was_killed_is_rolled_back_and_read(tmp_path):
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE experiments (name TEXT)")
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(database)], check=False)
    assert database.with_name("mlflow.db-journal").stat().st_size > 0
    probe(database)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (0,)


def test_a_database_that_is_none_is_refused_by_name_at_once(tmp_path):
    project = Project(tmp_path)
    database = tmp_path / "mlflow" / "store" / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 100)
    with pytest.raises(
        BadInput,
        match=r"mlflow\.db to be a readable database of MLflow; .*: file is not a database",
    ):
        register(project.root, project.params)
    assert database.read_bytes() == b"no database" * 100


def test_a_check_makes_no_database(tmp_path):
    project = Project(tmp_path)
    with pytest.raises(
        EspalierError, match=r"Expected the registered models in .*; found no database there"
    ):
        missing(project.root, project.params)
    assert not (tmp_path / "mlflow").exists()


def test_a_database_that_was_left_half_made_is_not_taken_for_one(tmp_path):
    store = tmp_path / "mlflow" / "store"
    store.mkdir(parents=True)
    (store / ".mlflow.db.left").write_bytes(b"half")
    with connect(find_store(tmp_path)) as client:
        assert client.search_registered_models() == []
    assert [path.name for path in store.iterdir()] == ["mlflow.db"]


def test_a_registration_waits_for_another_one_and_then_refuses(project, monkeypatch):
    monkeypatch.setattr("espalier.registry.connection.store.LOCK_SECONDS", 0.2)
    with (
        connect(find_store(project.root)),
        pytest.raises(TryAgain, match=r"mlflow\.lock to be free"),
        connect(find_store(project.root)),
    ):
        pass


def test_the_limit_is_that_of_one_holder_however_many_take_turns(tmp_path):
    path, gone = tmp_path / "lock", threading.Event()
    handle = try_lock(path)

    def take_turns():
        for _ in range(8):  # the same handle throughout: nothing can get in between two holders
            record_holder(handle)
            time.sleep(0.2)
        gone.set()
        os.close(handle)

    holders = threading.Thread(target=take_turns)
    holders.start()
    with hold_in_turn(path, Path("lock"), limit=1.0):
        assert gone.is_set()
        holders.join()
        with (
            pytest.raises(TryAgain, match=f"held by process {os.getpid()} .* all the time"),
            hold_in_turn(path, Path("lock"), limit=0.2),
        ):
            pass
    with hold_in_turn(path, Path("lock"), limit=0.0):
        pass


def test_two_processes_that_start_with_nothing_register_once_and_say_nothing_else(tmp_path):
    project = Project(tmp_path)
    code = "from pathlib import Path; from espalier.commands.register import run; run(Path('.'))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [errors for _, errors in said] == [b"", b""]
    lines = sorted(line for output, _ in said for line in output.decode().splitlines())
    assert lines == sorted(
        [
            "teacher      version   1  new",
            "student      version   2  new",
            "student-p50  version   3  new",
            "teacher      version   1  unchanged",
            "student      version   2  unchanged",
            "student-p50  version   3  unchanged",
        ]
        + 2 * ["models:/digits@NAME is the version that holds NAME as it is now"]
    )
    assert missing(project.root, project.params) == {}


def test_importing_the_registry_imports_neither_mlflow_nor_torch():
    code = (
        "import sys, espalier.commands.register;"
        "print([name for name in ('mlflow', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""The services of a team, for real: databases and objects that outlive a restart, logins, and all of it together."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
import sample_projects
from registry.projects import Project
from registry.servers import free_port

from espalier.errors import BadInput, TryAgain
from espalier.tasks.services import postgres as postgresql
from espalier.tasks.services.object_store import object_store
from espalier.tasks.services.postgres import can_run, find_programs, postgres
from espalier.tasks.services.service import find_processes
from espalier.tasks.services.settings import DATABASES, LOOPBACK, Ports
from espalier.tasks.services.start import read_settings, run_services
from espalier.tasks.services.supervisor import supervise

MISSING = [one for one in ("boto3", "dvc_s3", "flask_wtf", "psycopg2") if find_spec(one) is None]
pytestmark = [
    pytest.mark.skipif(not can_run(), reason="needs PostgreSQL: apt-get install postgresql"),
    pytest.mark.skipif(
        bool(MISSING), reason=f"needs the optional dependencies `fleet`: no {MISSING}"
    ),
]
FLEET = "from espalier.flows.cli import main; main()"


@pytest.fixture
def root():
    """A project in a folder that PostgreSQL's user may enter; pytest's own folders are closed to it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield Project(folder / "project").root
    for name in ("postgres", "s3", "mlflow", "prefect"):
        for process in find_processes(folder / "project" / ".fleet", name):
            process.kill()
    shutil.rmtree(folder)


@pytest.fixture
def settings(root):
    ports = Ports(*(free_port() for _ in range(4)))
    return read_settings(root, root / ".fleet", LOOPBACK, ports)


def while_running(settings, step):
    """Call a step while PostgreSQL and the S3 server run."""

    def call():
        step()
        raise KeyboardInterrupt

    services = [postgres(settings), object_store(settings)]
    supervise(services, settings.data, settings.logs, lambda line: None, call)


def query(settings, text, **variables):
    """The output of a query in the database of MLflow, or the error."""
    variables = {"PGPASSWORD": settings.passwords.postgres} | variables
    return subprocess.run(
        [find_programs(settings.data) / "psql", "-XAtc", text, settings.database("mlflow")],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def bucket(settings, secret):
    import boto3
    from botocore.config import Config

    return boto3.resource(
        "s3",
        endpoint_url=settings.s3,
        aws_access_key_id="espalier",
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}),
    ).Bucket("dvc")


def test_databases_and_objects_outlive_a_restart_and_ask_for_passwords(settings):
    from botocore.exceptions import ClientError

    def write():
        names = query(settings, "SELECT datname FROM pg_database").stdout.split()
        assert set(DATABASES) <= set(names)
        assert query(settings, "CREATE TABLE kept AS SELECT 7 AS value").returncode == 0
        bucket(settings, settings.passwords.s3).put_object(Key="a/b", Body=b"content")

    def read():
        assert query(settings, "SELECT value FROM kept").stdout == "7\n"
        objects = bucket(settings, settings.passwords.s3).objects.all()
        assert [one.get()["Body"].read() for one in objects] == [b"content"]
        refused = query(settings, "SELECT 1", PGPASSWORD="wrong")
        assert "password authentication failed" in refused.stderr
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            list(bucket(settings, "wrong").objects.all())

    while_running(settings, write)
    assert not find_processes(settings.data, "postgres")
    while_running(settings, read)
    for process in (settings.logs / "postgres.log", settings.logs / "s3.log"):
        assert settings.passwords.postgres not in process.read_text()
        assert settings.passwords.s3 not in process.read_text()


def test_a_cluster_that_was_not_finished_is_made_again(settings):
    draft = settings.data / "postgres.new"
    draft.mkdir(parents=True)
    (draft / "half").write_text("a killed initdb leaves such files")
    while_running(settings, lambda: query(settings, "SELECT 1").check_returncode())
    assert not draft.exists()
    assert not (settings.data / ".password").exists()


@pytest.mark.parametrize(("former", "mode"), [(None, 0o711), (0o1777, 0o1777), (0o755, 0o755)])
def test_only_a_new_folder_of_data_gets_a_mode(root, former, mode):
    data = root / "data"
    if former is not None:
        data.mkdir()
        data.chmod(former)
    usual = os.umask(0o077)
    settings = read_settings(root, data, LOOPBACK, Ports())
    os.umask(usual)
    postgres(settings)
    assert data.stat().st_mode & 0o7777 == mode


def test_a_program_that_does_not_end_is_named(settings, monkeypatch, tmp_path):
    """`pg_config` is asked for a folder first."""
    slow = tmp_path / "pg_config"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(postgresql, "_SHORT", 0.1)
    with pytest.raises(TryAgain, match=r"Expected pg_config to end within 0\.1 s; found it still"):
        run_services(settings, print, ["postgres"])


def test_a_service_that_does_not_exist_is_named_with_the_others(settings):
    with pytest.raises(BadInput, match=r"postgres, s3, mlflow, prefect, .*worker-bench; found web"):
        run_services(settings, print, ["s3", "web"])


class Fleet:
    """`espalier fleet` of a project, in a process of its own.

    Attributes:
        root: folder of the project.
        ports: ports of its servers.
        output: file of its output.
    """

    def __init__(self, root):
        self.root = root
        names = ("postgres", "s3", "mlflow", "prefect")
        self.ports = {name: free_port() for name in names}
        self.output = root / "output.txt"

    def start(self):
        options = [
            word for name, port in self.ports.items() for word in (f"--{name}-port", str(port))
        ]
        before = self.output.read_text() if self.output.exists() else ""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", FLEET, "fleet", *options],
                cwd=self.root,
                env=sample_projects.ENVIRONMENT,
                stdout=output,
                stderr=output,
            )
        self.wait_for(lambda: "all services answer" in self.new(before))

    def new(self, before):
        return self.output.read_text()[len(before) :]

    def wait_for(self, question, seconds=280):
        deadline = time.monotonic() + seconds
        while not question():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.5)

    def stop(self, sign=signal.SIGINT):
        self.process.send_signal(sign)
        return self.process.wait(120)

    def client(self):
        """The variables of a user who has read the file of variables."""
        lines = (self.root / ".espalier" / "fleet" / "client.env").read_text().splitlines()
        pairs = [line.removeprefix("export ").split("=", 1) for line in lines]
        return sample_projects.ENVIRONMENT | dict(pairs)

    def call(self, *words, **variables):
        return subprocess.run(
            [sys.executable, "-P", *words],
            cwd=self.root,
            env=self.client() | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    def processes(self):
        names = [*self.ports, "worker-flows", "worker-gpu", "worker-bench"]
        return {name: find_processes(self.root / ".fleet", name) for name in names}


@pytest.fixture
def fleet(root):
    started = Fleet(root)
    yield started
    if started.process.poll() is None:
        started.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_team_registers_and_pushes_and_finds_all_of_it_after_a_kill(fleet):
    (fleet.root / "queue.py").write_text("raise RuntimeError\n")  # a module of the user's project
    fleet.start()
    passwords = json.loads((fleet.root / ".fleet" / "passwords.json").read_text()).values()
    register = ("-m", "espalier", "register")
    assert fleet.call(*register).returncode == 0
    refused = fleet.call(*register, MLFLOW_TRACKING_PASSWORD="wrong")
    assert (refused.returncode, "grant access" in refused.stderr) == (2, True), refused.stderr
    _push(fleet)
    _assert_pools(fleet)

    for process in fleet.processes()["mlflow"][:1]:
        process.kill()
    fleet.wait_for(lambda: "mlflow ended with status -9" in fleet.output.read_text())
    fleet.stop(signal.SIGKILL)
    assert any(fleet.processes().values())

    fleet.start()  # ends what the killed supervisor has left
    assert fleet.call(*register, "--check").returncode == 0
    shutil.rmtree(fleet.root / ".dvc" / "cache")
    pulled = fleet.call("-m", "dvc", "pull", "--force")
    assert pulled.returncode == 0, pulled.stderr
    assert fleet.stop() == 0
    assert not any(fleet.processes().values())
    logs = list((fleet.root / ".espalier" / "fleet").glob("*.log"))
    assert len(logs) >= 8
    for path in (*logs, fleet.output):
        assert not [word for word in passwords if word in path.read_text()], path


def _push(fleet):
    """Track a folder and push it to the bucket."""
    for words in (
        ("init", "--no-scm", "--quiet"),
        ("remote", "add", "--default", "team", "s3://dvc"),
        ("add", "--quiet", "reports"),
        ("push",),
    ):
        done = fleet.call("-m", "dvc", *words)
        assert done.returncode == 0, done.stderr
    assert list((fleet.root / ".fleet" / "s3" / "dvc").rglob("files/md5/*/*"))


def _assert_pools(fleet):
    """The pools, the queue of measurements with its limit, and the login of Prefect's API."""
    shown = fleet.call(
        "-m", "prefect", "work-queue", "ls", "--pool", "espalier-stages", COLUMNS="200"
    )
    rows = {row.split("│")[1].strip(): row for row in shown.stdout.splitlines() if "│" in row}
    assert {"gpu", "bench"} <= set(rows)
    assert re.search(r"│\s*1\s*│", rows["bench"])
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{fleet.client()['PREFECT_API_URL']}/admin/version")
    assert refused.value.code == 401

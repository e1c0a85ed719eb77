"""Many processes at once: each ends well, and the project is that of one process that nothing disturbed."""

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.crash import registry_state
from faults.crash.end_states import differences, names_of, registry_differences
from faults.crash.flow_runs import ESPALIER, IDLE, environment
from registry.projects import Project
from registry.servers import free_port, serving

from espalier.tasks.services.postgres import can_run, postgres
from espalier.tasks.services.settings import LOOPBACK, Ports
from espalier.tasks.services.start import read_settings
from espalier.tasks.services.supervisor import supervise

RUN = (ESPALIER, "run")
DVC = (sys.executable, "-m", "dvc", "repro")
# done, nothing promoted, bad input such as a model that is not made yet, and worth a retry
OF_COMMANDS = (0, 1, 2, 75)
_LIMIT = 1500.0  # seconds until all commands have ended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * _LIMIT)]


def at_once(*started, **variables):
    """Run commands at the same time.

    Args:
        started: pairs of a folder and a command.
        variables: further variables of their environment.

    Returns:
        For each its exit status and its output.
    """
    processes = [
        subprocess.Popen(
            command,
            cwd=root,
            env=environment(root) | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for root, command in started
    ]
    found = [None] * len(processes)

    def read(number):  # all at the same time: a full pipe would block the others
        found[number] = processes[number].communicate(timeout=_LIMIT)[0]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(process.returncode, output) for process, output in zip(processes, found, strict=True)]


def assert_ended(ended, statuses):
    for status, output in ended:
        assert status in statuses, output
        assert "Traceback" not in output, output


def assert_as_undisturbed(root, undisturbed, **variables):
    """One more run finds nothing to do, and everything is as in the undisturbed project."""
    ((status, output),) = at_once((root, RUN), **variables)
    assert (status, IDLE in output) == (0, True), output
    assert differences(root, undisturbed) == []


@pytest.fixture(autouse=True)
def _own_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_eight_equal_runs_make_each_model_once(start, undisturbed, tmp_path):
    root = shutil.copytree(start, tmp_path / "project")
    ended = at_once(*[(root, RUN)] * 8)
    assert_ended(ended, (0,))
    begun = Counter(
        name
        for _, output in ended
        for name in re.findall(r"^(\w+) +epoch 1/", output, re.MULTILINE)
    )
    assert begun == dict.fromkeys(names_of(root), 1)
    assert_as_undisturbed(root, undisturbed)


def test_eight_different_commands_end_with_a_documented_status(undisturbed, tmp_path):
    root = shutil.copytree(undisturbed, tmp_path / "project")
    same_data = shutil.copytree(root / "data", tmp_path / "data")
    for removed in ("models/student", "reports", ".dvc/cache", ".espalier/kept", ".espalier/bank"):
        shutil.rmtree(root / removed)
    words = (["register"], ["promote"], ["models"], ["doctor"], ["show"], ["data", str(same_data)])
    commands = [RUN, DVC, *((ESPALIER, *command) for command in words)]
    run, dvc, *others = at_once(*((root, command) for command in commands))
    assert_ended([run], (0,))
    # DVC gives up where another command uses its files
    assert_ended([dvc], (0, 255))
    assert dvc[0] == 0 or "lock" in dvc[1] or "busy" in dvc[1], dvc[1]
    assert_ended(others, OF_COMMANDS)
    assert_ended(at_once((root, RUN)), (0,))
    assert_as_undisturbed(root, undisturbed)


@contextmanager
def on_sqlite(_folder):
    """The registry of the project itself."""
    yield {}


@contextmanager
def on_postgresql(folder):
    """A tracking server that keeps runs and versions in PostgreSQL."""
    ports = Ports(postgres=free_port())
    settings = read_settings(folder / "project", folder / ".fleet", LOOPBACK, ports)
    ready, done = threading.Event(), threading.Event()

    def hold():
        ready.set()
        done.wait()
        raise KeyboardInterrupt

    arguments = ([postgres(settings)], settings.data, settings.logs, lambda line: None, hold)
    thread = threading.Thread(target=supervise, args=arguments)
    thread.start()
    try:
        assert ready.wait(300)
        store = f"--backend-store-uri={settings.database('mlflow')}"
        (folder / "server").mkdir()
        with serving(folder / "server", store, **settings.database_client()) as address:
            yield {"MLFLOW_TRACKING_URI": address}
    finally:
        done.set()
        thread.join()


def test_two_checkouts_share_a_cache_and_a_tracking_server(
    start, undisturbed, tmp_path, monkeypatch
):
    """Each makes its own models, of the same bits, and the registry has each of them once."""
    roots = [shutil.copytree(start, tmp_path / name / "project") for name in ("a", "b")]
    for root in roots:
        with (root / ".dvc" / "config").open("a") as config:
            config.write(f"[cache]\n    dir = {tmp_path / 'cache'}\n")
    (tmp_path / "server").mkdir()
    expected = registry_state.read(undisturbed)
    with serving(tmp_path / "server") as address:
        shared = {"MLFLOW_TRACKING_URI": address}
        assert_ended(at_once(*((root, RUN) for root in roots), **shared), (0,))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)  # for the reader of the registry
        for root in roots:
            assert_as_undisturbed(root, undisturbed, **shared)
            assert registry_differences(registry_state.read(root), expected) == []


@pytest.fixture
def open_folder():
    """A folder that PostgreSQL's user may enter; pytest's own are closed to it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    "store",
    [
        on_sqlite,
        pytest.param(
            on_postgresql,
            marks=pytest.mark.skipif(not can_run(), reason="needs PostgreSQL"),
        ),
    ],
)
def test_sixteen_first_registrations_make_each_version_once(store, open_folder, monkeypatch):
    root, alone = Project(open_folder / "project").root, Project(open_folder / "alone").root
    register = (ESPALIER, "register")
    assert_ended(at_once((alone, register)), (0,))
    expected = registry_state.read(alone)
    with store(open_folder) as variables:
        ended = at_once(*[(root, register)] * 16, **variables)
        assert_ended(ended, (0,))
        new = [line for _, output in ended for line in output.splitlines() if line.endswith("new")]
        assert len(new) == len(expected["versions"])
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert registry_differences(registry_state.read(root), expected) == []

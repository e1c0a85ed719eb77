"""Many processes at once: each ends well, and the project is that of one process that nothing disturbed."""

import re
import shutil
import subprocess
import threading
from collections import Counter

import pytest
from faults.crash.end_states import differences, names_of
from faults.crash.flow_runs import ESPALIER, IDLE, environment

RUN = (ESPALIER, "run")
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

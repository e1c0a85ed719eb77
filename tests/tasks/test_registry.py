"""The check of the registry in a run: a process of its own, unless a memo spares it."""

import threading

import pytest
from registry.projects import Project as Registered

from espalier.registry import register
from espalier.tasks import registry
from espalier.tasks.project import Project, TimeLimits


@pytest.fixture
def registered(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    project = Registered(tmp_path)
    register(project.root, project.params)
    return project


@pytest.fixture
def processes(monkeypatch):
    """The commands that were started; each ends with 1."""
    started = []

    def run(command, **_more):
        started.append(command[1:])
        return 1

    monkeypatch.setattr(registry.processes, "run", run)
    return started


def test_a_check_that_would_find_the_same_starts_no_process(registered, processes):
    project = Project(registered.root, (), TimeLimits(), threading.Event())
    assert registry.check_registry.fn(project)
    assert processes == []
    registered.write_report(latency=3.0)
    assert not registry.check_registry.fn(project)
    assert processes == [["-P", "-m", "espalier", "register", "--check"]]

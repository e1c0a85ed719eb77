"""The project of whole runs: three tiny models, before its first run and after one that nothing disturbed."""

import pytest
from faults.crash.flow_runs import plant_project, play


@pytest.fixture(scope="session")
def start(tmp_path_factory, project_root):
    """The project before its first run; it is shared: copy it."""
    folder = tmp_path_factory.mktemp("start") / "project"
    return plant_project(folder, project_root / ".dvc" / "embedded", project_root / "dvc.yaml")


@pytest.fixture(scope="session")
def undisturbed(start, tmp_path_factory):
    """The project after a run of its own, in about half a minute; it is shared: copy it."""
    root = tmp_path_factory.mktemp("undisturbed") / "project"
    result = play([], start, root, root)
    assert (result.problems, result.attempts, result.trained_again) == ([], 1, 0)
    return root

"""Fixtures of the sample projects, for tests of tasks and flows."""

import shutil

import pytest
import sample_projects


def pytest_sessionfinish():
    sample_projects.ENDING.close()


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory):
    return sample_projects.make_project(tmp_path_factory.mktemp("fresh_project") / "project")


@pytest.fixture(scope="session")
def reproduced_project(fresh_project, tmp_path_factory):
    root = shutil.copytree(fresh_project, tmp_path_factory.mktemp("reproduced_project") / "project")
    sample_projects.call(root, "dvc", "repro", "--quiet")
    return root


@pytest.fixture
def root(fresh_project, tmp_path):
    """A project without results."""
    return shutil.copytree(fresh_project, tmp_path / "project")


@pytest.fixture
def built_project(reproduced_project, tmp_path):
    """A project with all results."""
    return shutil.copytree(reproduced_project, tmp_path / "project")


@pytest.fixture
def server():
    """A real Prefect server, for flows that run in this process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from espalier.tasks.server import flush

    environment = sample_projects.prefect_server()
    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        yield environment
        flush()

"""Fixtures of what is tested on the projects of `sample_projects`: tasks and flows."""

import shutil

import pytest
import sample_projects


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    return sample_projects.plant(tmp_path_factory.mktemp("planted") / "project")


@pytest.fixture(scope="session")
def reproduced(planted, tmp_path_factory):
    root = shutil.copytree(planted, tmp_path_factory.mktemp("reproduced") / "project")
    sample_projects.call(root, "dvc", "repro", "--quiet")
    return root


@pytest.fixture
def root(planted, tmp_path):
    """A project of which nothing is made yet."""
    return shutil.copytree(planted, tmp_path / "project")


@pytest.fixture
def grown(reproduced, tmp_path):
    """A project in which everything is made."""
    return shutil.copytree(reproduced, tmp_path / "project")


@pytest.fixture
def server():
    """A real Prefect server, for flows that run in this process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tasks.server import flush

    environment = sample_projects.prefect_server()
    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        yield environment
        flush()

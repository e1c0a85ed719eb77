import shutil
import threading

import orchard
import pytest

from tasks.project import Patience, Project
from tasks.server import flush
from tasks.slots import Slot


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    return orchard.plant(tmp_path_factory.mktemp("planted") / "project")


@pytest.fixture(scope="session")
def reproduced(planted, tmp_path_factory):
    root = shutil.copytree(planted, tmp_path_factory.mktemp("reproduced") / "project")
    orchard.call(root, "dvc", "repro", "--quiet")
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
def project(root):
    slots = tuple(Slot(root / ".espalier" / "slots" / f"cpu-{number}") for number in range(2))
    return Project(root, slots, Patience(delay=0.05, grace=5.0), threading.Event())


@pytest.fixture
def server():
    """A real Prefect server, for flows that run in this process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    environment = orchard.prefect_server()
    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        yield environment
        flush()

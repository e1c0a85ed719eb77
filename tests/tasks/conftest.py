import shutil
import threading

import orchard
import pytest

from tasks.project import Patience, Project
from tasks.server import serve
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


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A Prefect server of its own, as `espalier run` has one."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with serve(tmp_path_factory.mktemp("prefect")) as url, temporary_settings({PREFECT_API_URL: url}):
        yield url

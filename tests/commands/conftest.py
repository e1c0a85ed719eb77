import shutil

import pytest
import yaml
from commands.transfers import PARAMS, promote_at_home

from espalier.registry.connection.store import connect, find_store


@pytest.fixture(scope="session")
def dev(tiny, tmp_path_factory):
    """A project with a good model and a poor one, evaluated and registered; the champion is the good one."""
    from espalier.commands import evaluate, make, register

    root = tmp_path_factory.mktemp("dev") / "project"
    shutil.copytree(tiny, root, ignore=shutil.ignore_patterns("locks", "work"))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    (root / "mlflow").mkdir()
    for name in PARAMS["models"]:
        make.run(root, name)
    evaluate.run(root)
    register.run(root)
    promote_at_home(root, "good")
    return root


@pytest.fixture
def ours(dev, tmp_path):
    """A copy of it."""
    root = tmp_path / "project"
    shutil.copytree(dev, root)
    return root


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """Made once: MLflow takes seconds for it."""
    root = tmp_path_factory.mktemp("empty")
    with connect(find_store(root)):
        return root / "mlflow" / "store" / "mlflow.db"


@pytest.fixture
def elsewhere(empty_database, tmp_path):
    """Another store, outside any project."""
    return _store_in(tmp_path / "elsewhere", empty_database)


@pytest.fixture
def farther(empty_database, tmp_path):
    """A third one."""
    return _store_in(tmp_path / "farther", empty_database)


def _store_in(folder, empty_database):
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(params=["the same store", "another store"])
def at(request):
    """Where the other registered model is."""
    return None if request.param == "the same store" else request.getfixturevalue("elsewhere")

"""A store beside the project's own: whose it is decides what its paths are relative to, and which lock is held."""

import pytest
from mlflow import MlflowClient
from registry.projects import Project

from espalier.errors import BadInput, TryAgain
from espalier.registry.connection.store import connect, find_store
from espalier.registry.versions import open_registry

OURS, THEIRS = "mlflow/store/mlflow.db", "sqlite:///../theirs/mlflow/store/mlflow.db"


@pytest.fixture
def projects(tmp_path):
    return Project(tmp_path / "ours").root, Project(tmp_path / "theirs").root


def test_the_database_of_another_project_is_what_that_project_finds_itself(projects):
    ours, theirs = projects
    there, own = find_store(ours, THEIRS), find_store(theirs)
    assert (there.uri, there.home, there.artifacts, there.lock) == (
        own.uri,
        own.home,
        own.artifacts,
        own.lock,
    )
    assert (there.root, own.home) == (ours, theirs)


def test_a_database_is_locked_for_all_projects_that_use_it(projects, monkeypatch):
    ours, theirs = projects
    monkeypatch.setattr("espalier.registry.connection.store.LOCK_SECONDS", 0.2)
    for uri in ("sqlite:///../shared/mlflow.db", None):
        here, there = (
            (find_store(ours, uri), find_store(theirs, uri))
            if uri
            else (find_store(ours, THEIRS), find_store(theirs))
        )
        with (
            connect(here),
            pytest.raises(TryAgain, match=r"mlflow\.lock to be free"),
            connect(there),
        ):
            pass


def test_two_stores_can_be_worked_on_in_turn_and_each_has_its_own(projects):
    ours, theirs = projects
    for name, at in (("ours", None), ("theirs", THEIRS)):
        store = find_store(ours, at)
        with connect(store) as client:
            open_registry(client, store, name)
    assert [one.name for one in MlflowClient(find_store(ours).uri).search_registered_models()] == [
        "ours"
    ]
    there = find_store(theirs)
    with connect(there) as client:
        assert [one.name for one in client.search_registered_models()] == ["theirs"]
        assert client.get_experiment_by_name("theirs").artifact_location.startswith(
            "mlflow/store/artifacts/"
        )


def test_a_database_outside_any_project_has_its_files_beside_it_wherever_it_is_asked_from(
    projects, tmp_path
):
    stores = [find_store(root, "sqlite:///../shared/mlflow.db") for root in projects]
    assert {store.artifacts for store in stores} == {f"{tmp_path}/shared/artifacts"}
    assert {store.lock.parents[2] for store in stores} == {tmp_path / "shared"}


def test_a_registry_that_the_user_set_apart_is_not_that_of_another_store(projects, monkeypatch):
    ours, _ = projects
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    with connect(find_store(ours, THEIRS)) as client:
        assert client.search_registered_models() == []


def test_a_store_beside_the_own_is_named_as_in_the_variable(projects, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here.example")
    assert find_store(projects[0]).uri == "http://here.example"
    assert (
        find_store(projects[0], "https://ann:secret@there.example").shown
        == "https://ann@there.example"
    )
    for path in ("", "mlruns", "file:///srv/mlruns"):
        with pytest.raises(
            BadInput, match=f"Expected --at to be the address of a server .*; found '{path}'"
        ):
            find_store(projects[0], path)

"""Two machines that register the same models in one server: neither takes the other, slow one for crashed."""

import shutil
import signal
import time

import pytest
from mlflow import MlflowClient
from registry.aliases import crash, exit_status, in_a_process, wrap
from registry.servers import serving

from espalier import leases
from espalier.registry import missing, register


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def one(project, server, monkeypatch):
    """A project with a single model, whose registered model is this test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    name = f"digits-{project.root.parent.name}"
    (project.root / "params.yaml").write_text(
        f'teacher: {{model: "espalier:resnet", epochs: 1}}\nregistry: {{name: {name}}}\n'
    )
    return project


def wait(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"waited for {path}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "call",
    [
        "create_experiment",
        "create_registered_model",
        "log_model_artifacts",
        "set_tag",
        "create_model_version",
    ],
)
def test_a_slow_registration_is_neither_disturbed_nor_blocking(one, tmp_path, call):
    """The other machine registers from beginning to end while the first is in the midst of it."""
    other = tmp_path / "another machine"
    shutil.copytree(one.root, other)
    begun, go = tmp_path / "begun", tmp_path / "go"

    def pause():
        begun.touch()
        wait(go)

    def slow():
        wrap(call, 1, before=pause)
        register(one.root, one.params)

    child = in_a_process(slow)
    wait(begun)
    try:
        register(other, one.params)
    finally:
        go.touch()
    assert exit_status(child) == 0
    assert missing(one.root, one.params) == missing(other, one.params) == {}
    client, name = MlflowClient(), one.params.registry.name
    (held,) = client.search_model_versions(f"name = '{name}'")
    assert client.get_run(held.run_id).info.lifecycle_stage == "active"
    assert client.get_run(held.run_id).info.status == "FINISHED"
    experiment = client.get_experiment_by_name(name).experiment_id
    assert [run.info.run_id for run in client.search_runs([experiment])] == [held.run_id]


def test_leftovers_of_a_killed_registration_of_this_project_are_deleted_at_once(one, tmp_path):
    def killed():
        wrap("log_model_artifacts", 1, before=crash)
        register(one.root, one.params)

    assert exit_status(in_a_process(killed)) == -signal.SIGKILL
    client, name = MlflowClient(), one.params.registry.name
    experiment = client.get_experiment_by_name(name).experiment_id
    (left,) = client.search_runs([experiment])
    assert left.info.status == "RUNNING"
    register(one.root, one.params)
    (held,) = client.search_runs([experiment])
    assert (held.info.status, held.info.run_id != left.info.run_id) == ("FINISHED", True)
    assert not list((one.root / ".espalier" / "locks" / "registering").iterdir())


def test_leftovers_of_another_machine_are_deleted_once_they_are_old(one, tmp_path, monkeypatch):
    other = tmp_path / "another machine"
    shutil.copytree(one.root, other)

    def killed():
        wrap("log_model_artifacts", 1, before=crash)
        register(other, one.params)

    assert exit_status(in_a_process(killed)) == -signal.SIGKILL
    monkeypatch.setattr(leases, "EXPIRES_AFTER", 0.0)
    register(one.root, one.params)
    client = MlflowClient()
    experiment = client.get_experiment_by_name(one.params.registry.name).experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FINISHED"]

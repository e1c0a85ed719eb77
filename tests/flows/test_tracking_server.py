"""A run whose tracking server is away succeeds, and the next one fills the server, audit and aliases included."""

import json
import sys

import pytest
import sample_projects
import yaml
from mlflow import MlflowClient
from prefect.states import Completed, Failed
from registry.projects import Project
from registry.servers import free_port, running, server_command, server_environment

from espalier.errors import BadInput, ServerAway, TryAgain
from espalier.flows import compress as flows_compress
from espalier.flows.compress import UNREGISTERED, compress
from espalier.registry import missing
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import Audit, AuditFile
from espalier.registry.promotion.alias_moves import AliasMove, move_alias
from espalier.registry.promotion.audit_sync import check_audit
from espalier.registry.versions import Registry, open_registry
from espalier.tasks.graph import Graph, Stage
from espalier.tasks.project import TimeLimits
from espalier.tasks.summary import summarize

pytestmark = pytest.mark.usefixtures("server")
PIPELINE = {
    "stages": {
        "register": {
            "cmd": f"{sys.executable} -m espalier register",
            "deps": ["models", "reports"],
            "outs": [{"registered.json": {"cache": False, "persist": True}}],
        }
    }
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with three models, whose only stage is the registration, on a server that is to be started."""
    project = Project(tmp_path / "project")
    for command in ("git init --quiet", "dvc init --quiet"):
        sample_projects.call(project.root, *command.split())
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    project.port = port
    return project


def serving(project, folder):
    """The project's tracking server, with everything in a folder."""
    folder.mkdir()
    return running(
        server_command(folder, project.port),
        f"http://127.0.0.1:{project.port}/health",
        folder / "log",
        cwd=folder,
        env=server_environment(),
    )


def run(project):
    limits = TimeLimits(delay=0.05, grace=5.0)
    return compress(str(project.root), limits=limits, return_state=True)


def aliases(project):
    client = MlflowClient(f"http://127.0.0.1:{project.port}")
    found = client.get_registered_model("digits").aliases
    return {
        alias: client.get_model_version("digits", version).tags["espalier.content"]
        for alias, version in found.items()
    }


def move_champion(project, entry):
    store = find_store(project.root)
    with connect(store) as client:
        registry = open_registry(client, store, "digits")
        contents = aliases(project)
        found = client.get_registered_model("digits").aliases
        former = found.get("champion")
        run = client.create_run(registry.experiment).info.run_id
        request = AliasMove(
            "champion",
            str(former) if former else None,
            str(found[entry]),
            contents[entry],
            contents.get("champion"),
            "promoted",
            run,
            entry,
        )
        move_alias(registry, request)


@pytest.mark.slow
def test_a_run_without_its_tracking_server_succeeds_and_the_next_one_fills_a_new_server(
    project, tmp_path
):
    with serving(project, tmp_path / "first"):
        assert run(project).is_completed()
        move_champion(project, "student")
        move_champion(project, "student-p50")
        before = aliases(project)
    lines = AuditFile.of(find_store(project.root), "digits").read()
    assert [line.move.entry for line in lines] == ["student", "student-p50"]

    project.write_model("teacher", seed=9)
    state = run(project)  # the server is away
    assert (state.is_completed(), state.name) == (True, UNREGISTERED)
    assert "registers them" in state.message
    status = json.loads(sample_projects.call(project.root, "dvc", "status", "--json"))
    assert "register" in status

    with serving(project, tmp_path / "second"):  # it has lost everything
        state = run(project)
        assert (state.is_completed(), state.name) == (True, "Completed")
        after = aliases(project)
        assert after.pop("teacher") != before.pop("teacher")
        assert after == before
        assert set(after) == {"student", "student-p50", "champion", "previous"}
        assert missing(project.root, project.params) == {}
        store = find_store(project.root)
        registry = Registry(MlflowClient(store.uri, store.uri), store, "digits")
        assert [line.recorded for line in Audit(registry.client, "digits").lines()] == [
            line.move for line in lines
        ]
        assert check_audit(registry) == ""


def test_a_damaged_model_is_no_server_that_is_away(project):
    (project.root / "models" / "student" / "model.onnx").write_bytes(b"")
    state = run(project)
    assert state.is_failed()
    assert "model.onnx" in state.message


END = """
import json, os, pathlib, sys
outcome = {outcome}
pathlib.Path(os.environ["ESPALIER_OUTCOME"]).write_text(json.dumps(outcome))
sys.exit(outcome["status"])
"""
AWAY = {"status": 75, "message": "Expected the store to answer; found no answer.", "away": True}
FULL = {"status": 75, "message": "Expected room on the disk; found none."}
WRONG = {"status": 2, "message": "Expected a number; found x."}


def end_with(project, **outcomes):
    """Give the project stages that end with these outcomes."""
    stages = {}
    for name, outcome in outcomes.items():
        (project.root / f"{name}.py").write_text(END.replace("{outcome}", repr(outcome)))
        command = f"{sys.executable} {name}.py"
        stages[name] = {"cmd": command, "deps": ["models"], "outs": [f"{name}.out"]}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


@pytest.mark.parametrize("on_server", [True, False])
def test_a_registration_that_failed_by_itself_is_no_server_that_is_away(
    project, monkeypatch, on_server
):
    if not on_server:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    end_with(project, register=FULL)
    state = run(project)
    assert state.is_failed()
    assert state.message == f"register: {FULL['message']}"


def test_a_failure_beside_a_server_that_is_away_is_the_end_of_the_run(project):
    end_with(project, register=AWAY, other=WRONG)
    state = run(project)
    assert state.is_failed()
    assert type(state.result(raise_on_failure=False)) is BadInput
    sentences = {f"register: {AWAY['message']}", f"other: {WRONG['message']}"}
    assert set(state.message.splitlines()) == sentences


def test_stages_that_fail_because_the_server_is_away_are_worth_another_run():
    errors = {"register": ServerAway("no answer"), "other": TryAgain("no room")}
    states = {name: Failed(message=str(error), data=error) for name, error in errors.items()}
    state = summarize(Graph(tuple(map(Stage, states))), states)
    assert type(state.data) is TryAgain


@pytest.mark.parametrize("error", [ServerAway("no answer."), TryAgain("no room.")])
def test_a_promotion_is_left_to_the_next_run_if_the_server_is_away_and_fails_otherwise(
    monkeypatch, error
):
    failed = Failed(message=str(error), data=error)
    monkeypatch.setattr(flows_compress, "promote", lambda *_, **__: failed)
    state = flows_compress.then_promote(None, Completed(message="8 of 8."))
    if isinstance(error, ServerAway):
        assert state.name == UNREGISTERED
        assert state.message == f"8 of 8.\nno answer. {flows_compress.NEXT_PROMOTES}"
    else:
        assert state is failed

"""Promotion into another registered model: a copy that says where it came from, made once, taken back as any other."""

import multiprocessing
import os
import shutil
import signal
import warnings

import pytest
import yaml
from commands.transfers import PARAMS, Side, allow, promote_at_home, rename
from registry.aliases import crashing, exit_status, in_a_process, wrap
from registry.servers import serving

from espalier import cli, files
from espalier.commands import models, promote, rollback
from espalier.errors import Notice
from espalier.models import content_hash
from espalier.registry.promotion import RefusedError, State


def test_the_copy_has_the_alias_the_same_files_and_its_origin(ours, at, tmp_path, capsys):
    here, there = Side(ours, "dev.digits"), Side(ours, "prod.digits", at)
    here.client.set_model_version_tag("dev.digits", "3", "owner", "Ann")
    before = here.all()
    (move,) = promote.run(ours, into="prod.digits", at=at)
    assert (
        "prod.digits@champion is version 1 now: good, copied from dev.digits version 3"
        in capsys.readouterr().out
    )
    assert here.all() == before
    assert there.aliases() == {"champion": "1"}
    content = content_hash(ours / "models" / "good")
    assert there.fetch("1", tmp_path / "fetched") == content
    assert files.verify(tmp_path / "fetched") == files.verify(ours / "models" / "good")
    (line,) = there.moves()
    assert (line.to, line.former, line.content, line.state) == ("1", None, content, State.DONE)
    assert line.reason == move.reason == "copied from dev.digits version 3"
    source, copied = here.versions()["3"], there.versions()["1"]
    origin = {
        "model": "dev.digits",
        "version": "3",
        "store": here.store.shown,
        "run": here.moves()[0].run,
    }
    assert copied.tags == source.tags | {
        f"espalier.origin.{key}": value for key, value in origin.items()
    }
    reports = [
        side.artifact(side.moves()[0].run, "gates.json", tmp_path / side.name)
        for side in (here, there)
    ]
    assert reports[0] == reports[1]
    metrics = [
        side.client.get_run(one.run_id).data.metrics
        for side, one in ((here, source), (there, copied))
    ]
    assert metrics[0] == metrics[1]
    assert {"accuracy", "drop", "history/loss", "metrics/validation_accuracy"} <= set(metrics[0])
    steps = [
        [
            (one.step, one.value, one.timestamp)
            for one in side.client.get_metric_history(version.run_id, "history/loss")
        ]
        for side, version in ((here, source), (there, copied))
    ]
    assert steps[0] == steps[1]


def test_again_it_says_so_and_adds_and_moves_nothing(ours, at, capsys):
    there = Side(ours, "prod.digits", at)
    promote.run(ours, into="prod.digits", at=at)
    before = there.all()
    assert promote.run(ours, into="prod.digits", at=at) == []
    assert "prod.digits@champion stays at version 1: good" in capsys.readouterr().out
    assert there.all() == before


def test_each_store_has_an_audit_of_its_own_also_of_the_name_of_the_project(
    ours, elsewhere, farther
):
    places = [("prod.digits", None), ("prod.digits", elsewhere), ("prod.digits", farther)]
    places += [("dev.digits", elsewhere), ("dev.digits", farther)]
    for into, at in places:
        promote.run(ours, into=into, at=at)
        assert promote.run(ours, into=into, at=at) == []
    for name, at in places:
        assert Side(ours, name, at).aliases() == {"champion": "1"}
        models.run(ours, within=name, at=at)
    assert promote.run(ours) == []
    files_of_audits = (ours / "mlflow" / "audit").glob("*.jsonl")
    assert [len(path.read_text().splitlines()) for path in files_of_audits] == [1] * 6


def copied_twice(project, at) -> Side:
    """The receiving model, whose champion was `good`, and is `poor` now."""
    promote.run(project, into="prod.digits", at=at)
    promote_at_home(project, "poor")
    allow(project, "poor", 1.0)
    promote.run(project, into="prod.digits", at=at)
    return Side(project, "prod.digits", at)


def test_it_is_taken_back_and_listed_where_it_is(ours, at, capsys):
    there = copied_twice(ours, at)
    at_home = Side(ours, "dev.digits").all()
    rollback.run(ours, within="prod.digits", at=at)
    assert (there.entry("champion"), there.entry("previous")) == ("good", "poor")
    assert Side(ours, "dev.digits").all() == at_home
    capsys.readouterr()
    models.run(ours, within="prod.digits", at=at)
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any("good" in line and "champion" in line and "%" in line for line in listed)
    assert [line[-1] for line in listed if "dev.digits" in line or "rolled" in line] == ["done"] * 3


def test_a_model_that_was_taken_back_is_copied_again_only_for_a_reason(ours, elsewhere, capsys):
    there = copied_twice(ours, elsewhere)
    rollback.run(ours, within="prod.digits", at=elsewhere)
    way = f"promote --into prod.digits --at {there.store.shown} --alias champion --again REASON"
    assert way in capsys.readouterr().out
    with pytest.raises(RefusedError):
        promote.run(ours, into="prod.digits", at=elsewhere)
    assert way in capsys.readouterr().out
    assert there.entry("champion") == "good"
    promote.run(ours, into="prod.digits", at=elsewhere, alias="champion", again="the camera was it")
    assert there.entry("champion") == "poor"
    assert there.moves()[-1].reason.endswith("again: the camera was it")


def test_a_copy_can_be_copied_on_because_its_gate_report_came_with_it(ours, elsewhere, tmp_path):
    promote.run(ours, into="staging.digits", at=elsewhere)
    rename(ours, "staging.digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", elsewhere)
        promote.run(ours, into="prod.digits", at="sqlite:///mlflow/store/mlflow.db")
    there = Side(ours, "prod.digits")
    assert there.versions()["1"].tags["espalier.origin.model"] == "staging.digits"
    assert there.moves()[0].content == content_hash(ours / "models" / "good")


KILLS = {
    "files": ("log_model_artifacts", 1),
    "mark": ("set_tag", 1),
    "version": ("create_model_version", 1),
    "line": ("create_model_version", 2),
    "alias": ("set_registered_model_alias", 1),
}


@pytest.mark.parametrize("call", KILLS)
def test_killed_at_any_step_the_next_one_ends_it_with_one_version_and_one_alias(
    ours, elsewhere, tmp_path, call
):
    there = Side(ours, "prod.digits", elsewhere)
    assert exit_status(taking(ours, elsewhere, crashing(*KILLS[call], "after"))) == -signal.SIGKILL
    assert there.aliases() == ({"champion": "1"} if call == "alias" else {})
    assert len(promote.run(ours, into="prod.digits", at=elsewhere)) == (0 if call == "alias" else 1)
    assert there.aliases() == {"champion": "1"}
    assert list(there.versions()) == ["1"]
    assert there.fetch("1", tmp_path / "fetched") == content_hash(ours / "models" / "good")
    assert [line.state for line in there.moves()] == [
        *([State.ABANDONED] if call == "line" else []),
        State.DONE,
    ]


def taking(root, at, prepare, into="prod.digits"):
    """The id of a process that takes the champion elsewhere."""

    def work():
        prepare()
        promote.run(root, into=into, at=at)

    return in_a_process(work)


def test_the_webhook_names_the_registered_model_of_the_move(ours):
    params = PARAMS | {"registry": {"name": "dev.digits", "webhook": "http://127.0.0.1:9/"}}
    (ours / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.warns(Notice, match=r"to accept the move of prod\.digits@champion"):
        promote.run(ours, into="prod.digits")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        promote.run(ours, into="prod.digits")


def test_the_store_of_another_project_stays_one_that_moves_with_it(ours, empty_database, tmp_path):
    """It is written as that project would write it: paths relative to its root."""
    other = tmp_path / "other"
    (other / "mlflow" / "store").mkdir(parents=True)
    shutil.copyfile(empty_database, other / "mlflow" / "store" / "mlflow.db")
    shutil.copyfile(ours / "params.yaml", other / "params.yaml")
    promote.run(ours, into="prod.digits", at="sqlite:///../other/mlflow/store/mlflow.db")
    moved = other.rename(tmp_path / "moved elsewhere")
    there = Side(moved, "prod.digits")
    assert there.fetch("1", tmp_path / "fetched") == content_hash(ours / "models" / "good")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.mark.slow
def test_on_a_real_server_it_arrives_and_is_taken_back(ours, server, tmp_path, capsys):
    there = Side(ours, "prod.digits", server)
    promote.run(ours, into="prod.digits", at=server)
    promote_at_home(ours, "poor")
    with pytest.raises(RefusedError):
        promote.run(ours, into="prod.digits", at=server)
    allow(ours, "poor", 1.0)
    promote.run(ours, into="prod.digits", at=server)
    assert promote.run(ours, into="prod.digits", at=server) == []
    assert (there.entry("champion"), there.entry("previous")) == ("poor", "good")
    rollback.run(ours, within="prod.digits", at=server)
    assert (there.entry("champion"), there.entry("previous")) == ("good", "poor")
    assert there.fetch("1", tmp_path / "fetched") == content_hash(ours / "models" / "good")
    assert "gates.json" in [file.path for file in there.client.list_artifacts(there.moves()[0].run)]
    capsys.readouterr()
    models.run(ours, within="prod.digits", at=server)
    assert capsys.readouterr().out.count("copied from dev.digits version") == 2


@pytest.mark.slow
def test_of_two_machines_that_take_it_to_a_server_at_once_one_moves_the_alias(
    ours, server, tmp_path
):
    """The copy is there already; neither goes on before both have said that they want to move the alias to it."""
    gate = multiprocessing.get_context("fork").Barrier(2)
    meet = lambda: wrap("create_model_version", 1, after=lambda: gate.wait(100))  # noqa: E731
    machines = [ours, shutil.copytree(ours, tmp_path / "another machine")]
    assert (
        exit_status(taking(ours, server, crashing("create_model_version", 1, "after"), "raced"))
        == -signal.SIGKILL
    )
    racers = [taking(root, server, meet, "raced") for root in machines]
    assert sorted(exit_status(racer) for racer in racers) == [0, 3]
    there = Side(ours, "raced", server)
    assert [line.state for line in there.moves()] == [State.DONE, State.LOST]
    assert (there.aliases(), list(there.versions())) == ({"champion": "1"}, ["1"])


def test_the_commands_are_spelled_alike(ours, elsewhere, monkeypatch, capsys):
    monkeypatch.chdir(ours)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    for name in cli._ENVIRONMENT:
        monkeypatch.setenv(name, os.environ.get(name, ""))
    said = []
    for words in (["promote", "--into"], ["models", "--in"], ["rollback", "--in"]):
        with pytest.raises(SystemExit) as left:
            cli.main([*words, "prod.digits", "--at", elsewhere])
        said.append((left.value.code, "".join(capsys.readouterr())))
    assert [code for code, _ in said] == [0, 0, 2]
    assert "prod.digits@champion is version 1 now" in said[0][1]
    assert "copied from dev.digits" in said[1][1]
    assert "Expected an earlier version of prod.digits@champion" in said[2][1]
    assert "found none: it has had version 1 alone" in said[2][1]

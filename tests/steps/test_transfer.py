"""Promotion into another registered model: a copy of what passed its gates, and of nothing else."""

import json
import os
import shutil
import signal
import warnings
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from properties import assert_explains
from registry.servers import serving

from espalier import files
from espalier.errors import BadInput, Notice
from espalier.models import content_hash
from espalier.registry.audit import Audit, State
from espalier.registry.fetch import fetch
from espalier.registry.store import connect, find_store
from espalier.registry.versions import Registry
from espalier.steps import evaluate, make, models, promote, register, rollback
from espalier.steps.promote import RefusedError

PARAMS = {
    "training": {"batch_size": 64, "threads": 1, "views": 3},
    "teacher": {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 8}, "epochs": 2},
    "models": {
        "poor": {"from": "teacher", "by": "train", "epochs": 0, "model": "espalier:mlp"},
        "good": {"from": "teacher", "by": "train", "epochs": 1},
    },
    "evaluation": {"rounds": 3},
    "registry": {"name": "dev.digits"},
}


@pytest.fixture(scope="module")
def grown(tiny, tmp_path_factory):
    """A project with a good model and a poor one, evaluated and registered; the champion is the good one."""
    root = tmp_path_factory.mktemp("transfer") / "project"
    shutil.copytree(tiny, root, ignore=shutil.ignore_patterns("locks", "work"))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    (root / "mlflow").mkdir()
    for name in PARAMS["models"]:
        make.run(root, name)
    evaluate.run(root)
    register.run(root)
    promote_at_home(root, "good")
    return root


def promote_at_home(root, entry):
    allow(root, entry, 1.0)
    promote.run(root)
    allow(root, entry, 0.06)


def rename(root, name):
    params = PARAMS | {"registry": {"name": name}}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def allow(root, entry, champion_drop):
    policy = {"candidates": [entry], "gates": {"champion_drop": champion_drop}}
    (root / "mlflow" / "gates.yaml").write_text(yaml.safe_dump({"champion": policy}))


@pytest.fixture
def project(grown, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(grown, root)
    return root


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A new database, made once: MLflow takes seconds for it."""
    root = tmp_path_factory.mktemp("empty")
    with connect(find_store(root)):
        return root / "mlflow" / "store" / "mlflow.db"


@pytest.fixture
def elsewhere(empty, tmp_path):
    """Another store, outside any project."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copyfile(empty, tmp_path / "elsewhere" / "mlflow.db")
    return f"sqlite:///{tmp_path}/elsewhere/mlflow.db"


@pytest.fixture(params=["the same store", "another store"])
def at(request):
    """Where the other registered model is."""
    return None if request.param == "the same store" else request.getfixturevalue("elsewhere")


class Side:
    """A registered model, seen from outside."""

    def __init__(self, root, name, at=None):
        self.store, self.name = find_store(root, at), name
        self.client = MlflowClient(self.store.uri, self.store.uri)

    def versions(self):
        found = self.client.search_model_versions(f"name = '{self.name}'")
        return {str(one.version): one for one in sorted(found, key=lambda one: int(one.version))}

    def aliases(self):
        found = self.client.search_registered_models(f"name = '{self.name}'")
        return {alias: str(version) for alias, version in dict(found[0].aliases).items()} if found else {}

    def entry(self, alias="champion"):
        version = self.aliases().get(alias)
        return version and self.versions()[version].tags["espalier.entry"]

    def moves(self):
        return Audit(self.client, self.name).moves()

    def all(self):
        """Everything that is told of it."""
        runs = {
            run: self.client.get_run(run).to_dictionary() for run in {one.run_id for one in self.versions().values()}
        }
        return self.aliases(), {key: dict(one) for key, one in self.versions().items()}, self.moves(), runs

    def fetch(self, version, folder):
        with connect(self.store) as client:
            return fetch(Registry(client, self.store, self.name, ""), version, folder)

    def artifact(self, run, name, folder):
        with connect(self.store) as client:
            folder.mkdir(exist_ok=True)
            return Path(client.download_artifacts(run, name, str(folder))).read_text()

    def files_of(self, version):
        logged = self.versions()[version].source.removeprefix("models:/")
        return self.store.home / self.client.get_logged_model(logged).artifact_location


def test_the_copy_bears_the_alias_there_with_the_same_files_and_says_where_it_came_from(project, at, tmp_path, capsys):
    here, there = Side(project, "dev.digits"), Side(project, "prod.digits", at)
    before = here.all()
    (move,) = promote.run(project, into="prod.digits", at=at)
    assert "prod.digits@champion is version 1 now: good, copied from dev.digits version 3" in capsys.readouterr().out
    assert here.all() == before
    assert there.aliases() == {"champion": "1"}
    content = content_hash(project / "models" / "good")
    assert there.fetch("1", tmp_path / "fetched") == content
    assert files.verify(tmp_path / "fetched") == files.verify(project / "models" / "good")
    (line,) = there.moves()
    assert (line.to, line.former, line.content, line.state) == ("1", None, content, State.DONE)
    assert line.reason == move.reason == "copied from dev.digits version 3"
    source, copied = here.versions()["3"], there.versions()["1"]
    origin = {"model": "dev.digits", "version": "3", "store": here.store.shown, "run": here.moves()[0].run}
    assert copied.tags == source.tags | {f"espalier.origin.{key}": value for key, value in origin.items()}
    reports = [side.artifact(side.moves()[0].run, "gates.json", tmp_path / side.name) for side in (here, there)]
    assert reports[0] == reports[1]
    metrics = [side.client.get_run(one.run_id).data.metrics for side, one in ((here, source), (there, copied))]
    assert metrics[0] == metrics[1]
    assert {"accuracy", "drop", "history/loss", "metrics/validation_accuracy"} <= set(metrics[0])
    steps = [
        [(one.step, one.value, one.timestamp) for one in side.client.get_metric_history(version.run_id, "history/loss")]
        for side, version in ((here, source), (there, copied))
    ]
    assert steps[0] == steps[1]


def test_again_it_says_so_and_adds_and_moves_nothing(project, at, capsys):
    there = Side(project, "prod.digits", at)
    promote.run(project, into="prod.digits", at=at)
    before = there.all()
    assert promote.run(project, into="prod.digits", at=at) == []
    assert "prod.digits@champion stays at version 1: good" in capsys.readouterr().out
    assert there.all() == before


def test_what_is_worse_than_who_bears_the_alias_there_is_refused(project, at):
    promote.run(project, into="prod.digits", at=at)
    promote_at_home(project, "poor")
    there = Side(project, "prod.digits", at)
    before = there.all()
    with pytest.raises(RefusedError) as refused:
        promote.run(project, into="prod.digits", at=at)
    words = ("prod.digits@champion should", "Found none", "poor: champion_drop", "stays at version 1")
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert there.all() == before
    allow(project, "poor", 1.0)
    (move,) = promote.run(project, into="prod.digits", at=at)
    assert (there.entry("champion"), there.entry("previous"), move.former) == ("poor", "good", "1")


def test_it_is_taken_back_and_listed_where_it_is(project, at, capsys):
    there = Side(project, "prod.digits", at)
    promote.run(project, into="prod.digits", at=at)
    promote_at_home(project, "poor")
    allow(project, "poor", 1.0)
    promote.run(project, into="prod.digits", at=at)
    at_home = Side(project, "dev.digits").all()
    rollback.run(project, within="prod.digits", at=at)
    assert (there.entry("champion"), there.entry("previous")) == ("good", "poor")
    assert Side(project, "dev.digits").all() == at_home
    capsys.readouterr()
    models.run(project, within="prod.digits", at=at)
    listed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any("good" in line and "champion" in line and "%" in line for line in listed)
    assert [line[-1] for line in listed if "dev.digits" in line or "rolled" in line] == ["done"] * 3


def test_a_copy_can_be_copied_on_because_its_gate_report_came_with_it(project, elsewhere, tmp_path):
    promote.run(project, into="staging.digits", at=elsewhere)
    rename(project, "staging.digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", elsewhere)
        promote.run(project, into="prod.digits", at="sqlite:///mlflow/store/mlflow.db")
    there = Side(project, "prod.digits")
    assert there.versions()["1"].tags["espalier.origin.model"] == "staging.digits"
    assert there.moves()[0].content == content_hash(project / "models" / "good")


KILLS = {
    "files": ("log_model_artifacts", 1),
    "mark": ("set_tag", 1),
    "version": ("create_model_version", 1),
    "line": ("create_model_version", 2),
    "alias": ("set_registered_model_alias", 1),
}


@pytest.mark.parametrize("call", KILLS)
def test_killed_at_any_step_the_next_one_ends_it_with_one_version_and_one_alias(project, elsewhere, tmp_path, call):
    at = elsewhere
    there = Side(project, "prod.digits", at)
    child = os.fork()
    if not child:
        try:
            die_after(*KILLS[call])
            promote.run(project, into="prod.digits", at=at)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert there.aliases() == ({"champion": "1"} if call == "alias" else {})
    assert len(promote.run(project, into="prod.digits", at=at)) == (0 if call == "alias" else 1)
    assert there.aliases() == {"champion": "1"}
    assert list(there.versions()) == ["1"]
    assert there.fetch("1", tmp_path / "fetched") == content_hash(project / "models" / "good")
    assert [line.state for line in there.moves()] == [*([State.ABANDONED] if call == "line" else []), State.DONE]


def die_after(call, number):
    real, made = getattr(MlflowClient, call), []

    def dying(*given, **more):
        result = real(*given, **more)
        made.append(1)
        if len(made) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(MlflowClient, call, dying)


def by_hand(project):
    Side(project, "dev.digits").client.set_registered_model_alias("dev.digits", "champion", "2")


def nobody(project):
    Side(project, "dev.digits").client.delete_registered_model_alias("dev.digits", "champion")


def unfinished(project):
    Side(project, "dev.digits").client.set_model_version_tag("dev.digits.audit", "1", "espalier.state", "open")


def gates(project):
    side = Side(project, "dev.digits")
    uri = side.client.get_run(side.moves()[0].run).info.artifact_uri
    return project / uri / "gates.json"


def no_report(project):
    gates(project).unlink()


def report_of_another(project):
    gates(project).write_text(gates(project).read_text().replace(content_hash(project / "models" / "good"), "0" * 64))


def report_of_a_refusal(project):
    report = json.loads(gates(project).read_text())
    report["candidates"]["good"]["passed"] = False
    gates(project).write_text(json.dumps(report))


def report_of_another_alias(project):
    report = json.loads(gates(project).read_text())
    gates(project).write_text(json.dumps(report | {"alias": "small"}))


def report_that_is_none(project):
    gates(project).write_text("[]")


def damaged(project):
    path = Side(project, "dev.digits").files_of("3") / "model.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def exchanged(project):
    """A version whose files and tag are another model's, intact, since it was promoted."""
    side = Side(project, "dev.digits")
    shutil.rmtree(side.files_of("3"))
    shutil.copytree(side.files_of("2"), side.files_of("3"))
    tag = side.versions()["2"].tags["espalier.content"]
    side.client.set_model_version_tag("dev.digits", "3", "espalier.content", tag)


def no_data(project):
    shutil.rmtree(project / "prepared")


def other_data(project):
    path = project / "prepared" / "dataset.json"
    files.write_json(path, files.read_json(path) | {"seed": 1})


WRONG = {
    nobody: ("dev.digits@champion", "espalier promote"),
    by_hand: ("finished move", "the last one went to version 3"),
    unfinished: ("finished move", "not finished"),
    no_report: ("gates.json", "should hold"),
    report_of_another: ("gates.json", "passed"),
    report_of_a_refusal: ("gates.json", "passed"),
    report_of_another_alias: ("gates.json", "champion"),
    report_that_is_none: ("gates.json", "gate report"),
    damaged: ("model.onnx", "SHA-256"),
    exchanged: ("promoted",),
    no_data: ("prepared/", "none", "espalier prepare"),
    other_data: ("prepared/", "gates"),
}


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_what_did_not_pass_its_gates_here_goes_nowhere(project, spoil):
    spoil(project)
    with pytest.raises(BadInput) as refused:
        promote.run(project, into="prod.digits")
    assert_explains(refused.value, *WRONG[spoil])
    there = Side(project, "prod.digits")
    assert (there.versions(), there.aliases(), there.moves()) == ({}, {}, [])


def test_files_that_do_not_arrive_as_they_left_bear_no_alias(project, elsewhere, tmp_path, monkeypatch):
    at = elsewhere
    real = MlflowClient.log_model_artifacts

    def spoiling(self, logged, folder):
        real(self, logged, folder)
        path = tmp_path / self.get_logged_model(logged).artifact_location / "model.onnx"
        path.write_bytes(path.read_bytes()[:-1] + b"x")

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", spoiling)
    with pytest.raises(BadInput) as refused:
        promote.run(project, into="prod.digits", at=at)
    assert_explains(refused.value, "model.onnx")
    there = Side(project, "prod.digits", at)
    assert (there.aliases(), there.moves()) == ({}, [])
    monkeypatch.setattr(MlflowClient, "log_model_artifacts", real)
    promote.run(project, into="prod.digits", at=at)  # the spoilt version is not taken for a copy
    assert there.aliases() == {"champion": "2"}


def test_a_bearer_there_that_is_damaged_is_no_measure(project, at):
    promote.run(project, into="prod.digits", at=at)
    promote_at_home(project, "poor")
    there = Side(project, "prod.digits", at)
    (there.files_of("1") / "weights.safetensors").unlink()
    with pytest.raises(BadInput) as refused:
        promote.run(project, into="prod.digits", at=at)
    assert_explains(refused.value, "weights.safetensors")
    assert there.aliases() == {"champion": "1"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"into": "dev.digits"}, ("--into", "dev.digits")),
        ({"into": "prod/digits"}, ("'/'",)),
        ({"into": "prod:digits"}, ("':'",)),
        ({"into": "prod.digits.audit"}, (".audit",)),
        ({"into": "prod.digits", "alias": "small"}, ("small", "champion")),
        ({"into": "prod.digits", "at": "elsewhere"}, ("--at", "elsewhere")),
        ({"into": "prod.digits", "at": ""}, ("--at",)),
        ({"at": "sqlite:///elsewhere/mlflow.db"}, ("--into",)),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_before_anything_is_asked(project, given, words):
    with pytest.raises(BadInput) as refused:
        promote.run(project, **given)
    assert_explains(refused.value, *words)
    assert not (project / "elsewhere").exists()


def test_a_listener_is_told_of_the_model_that_it_moved_in(project):
    params = PARAMS | {"registry": {"name": "dev.digits", "webhook": "http://127.0.0.1:9/"}}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.warns(Notice, match=r"should be told that prod\.digits@champion moved"):
        promote.run(project, into="prod.digits")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        promote.run(project, into="prod.digits")


def test_the_store_of_another_project_stays_one_that_moves_with_it(project, empty, tmp_path):
    """It is written as that project would write it: paths relative to its root."""
    other = tmp_path / "other"
    (other / "mlflow" / "store").mkdir(parents=True)
    shutil.copyfile(empty, other / "mlflow" / "store" / "mlflow.db")
    shutil.copyfile(project / "params.yaml", other / "params.yaml")
    promote.run(project, into="prod.digits", at="sqlite:///../other/mlflow/store/mlflow.db")
    moved = other.rename(tmp_path / "moved elsewhere")
    there = Side(moved, "prod.digits")
    assert there.fetch("1", tmp_path / "fetched") == content_hash(project / "models" / "good")


def test_on_a_real_server_it_arrives_and_is_taken_back(project, tmp_path, capsys):
    (tmp_path / "server").mkdir()
    with serving(tmp_path / "server") as at:
        there = Side(project, "prod.digits", at)
        promote.run(project, into="prod.digits", at=at)
        promote_at_home(project, "poor")
        with pytest.raises(RefusedError):
            promote.run(project, into="prod.digits", at=at)
        allow(project, "poor", 1.0)
        promote.run(project, into="prod.digits", at=at)
        assert promote.run(project, into="prod.digits", at=at) == []
        assert (there.entry("champion"), there.entry("previous")) == ("poor", "good")
        rollback.run(project, within="prod.digits", at=at)
        assert (there.entry("champion"), there.entry("previous")) == ("good", "poor")
        assert there.fetch("1", tmp_path / "fetched") == content_hash(project / "models" / "good")
        assert "gates.json" in [file.path for file in there.client.list_artifacts(there.moves()[0].run)]
        capsys.readouterr()
        models.run(project, within="prod.digits", at=at)
        assert capsys.readouterr().out.count("copied from dev.digits version") == 2

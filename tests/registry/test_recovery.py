"""A lost store is made again from the files of the project: versions, audit and aliases, by the hashes of contents."""

import json
import shutil
import signal
import warnings
from copy import copy
from functools import partial

import pytest
from mlflow import MlflowClient
from registry.aliases import crashing, exit_status, in_a_process
from registry.projects import Project
from registry.servers import serving
from selection import mostly_slow

from espalier import files
from espalier.commands import models as list_models
from espalier.commands import restore
from espalier.commands.register import print_restored
from espalier.errors import BadInput, Notice, TryAgain
from espalier.registry import missing, register
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import Audit, AuditFile, sync_audit
from espalier.registry.promotion.alias_moves import AliasMove, move_alias, previous_version
from espalier.registry.promotion.audit import REPORT
from espalier.registry.promotion.audit_chain import sha256
from espalier.registry.promotion.audit_sync import check_audit, download_report
from espalier.registry.promotion.split_uses import find_use, tags_of_report
from espalier.registry.recovery import turns
from espalier.registry.versions import Registry, fetch, open_registry

STORE = "mlflow/store"
SPLIT = "5" * 64


def registry_of(project):
    store = find_store(project.root)
    return Registry(MlflowClient(store.uri, store.uri), store, "digits")


def contents(project):
    """The content of each alias."""
    registry = registry_of(project)
    aliases = dict(registry.client.get_registered_model("digits").aliases)
    return {
        alias: registry.client.get_model_version("digits", version).tags["espalier.content"]
        for alias, version in aliases.items()
    }


def move(project, entry, alias="champion"):
    """Move an alias to the current version of an entry, with a gate report."""
    store = find_store(project.root)
    with connect(store) as client:
        registry = open_registry(client, store, "digits")
        run = client.create_run(registry.experiment).info.run_id
        content = contents(project)
        split = {"sha256": SPLIT}
        candidates = {entry: {"content": content[entry]}}
        report = json.dumps({"alias": alias, "test_split": split, "candidates": candidates})
        client.log_text(run, report, REPORT)
        found = client.get_registered_model("digits").aliases
        aliases = {name: str(version) for name, version in found.items()}
        request = AliasMove(
            alias,
            aliases.get(alias),
            aliases[entry],
            content[entry],
            content.get(alias),
            "promoted",
            run,
            entry,
            sha256(report),
        )
        return move_alias(registry, request)


@pytest.fixture(scope="module")
def original(tmp_path_factory, empty_store):
    """The champion was student, then student-p50, then a student that was trained again; the first is no folder."""
    project = Project(tmp_path_factory.mktemp("moved") / "project")
    shutil.copytree(empty_store, project.root / STORE)
    register(project.root, project.params)
    move(project, "student")
    move(project, "student-p50")
    project.write_model("student", seed=77)
    register(project.root, project.params)
    move(project, "student")
    client = registry_of(project).client
    client.set_registered_model_alias("digits", "by-hand", "2")
    with connect(find_store(project.root)):
        sync_audit(registry_of(project))
    return project


@pytest.fixture
def moved_project(original, tmp_path):
    project = copy(original)
    project.root = tmp_path / "project"
    shutil.copytree(original.root, project.root)
    return project


def lines_of(project):
    return [line.move for line in AuditFile.of(find_store(project.root), "digits").read()]


def notices(call, *arguments):
    """The warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*arguments)
    return [str(one.message) for one in caught if issubclass(one.category, Notice)]


def assert_restored(project, before, lines):
    assert contents(project) == before
    assert lines_of(project) == lines
    registry = registry_of(project)
    stored = Audit(registry.client, "digits").lines()
    assert [line.recorded for line in stored] == lines
    assert check_audit(registry) == ""
    assert missing(project.root, project.params) == {}


def test_with_the_database_gone_all_is_restored_by_the_files_of_the_store(moved_project, tmp_path):
    project = moved_project
    before, lines = contents(project), lines_of(project)
    (project.root / STORE / "mlflow.db").rename(tmp_path / "damaged.db")
    assert notices(register, project.root, project.params) == []
    assert_restored(project, before, lines)
    registry = registry_of(project)
    with connect(registry.store):
        former = previous_version(registry, "champion")
        assert fetch(registry, former, tmp_path / "former") == before["student-p50"]
        first = Audit(registry.client, "digits").moves()[0]
        assert fetch(registry, first.to, tmp_path / "first") == lines[0].content
        assert sha256(download_report(registry, first.run)) == lines[0].report
    versions = len(registry.client.search_model_versions("name = 'digits'"))
    assert not any(one.new for one in register(project.root, project.params))
    assert len(registry.client.search_model_versions("name = 'digits'")) == versions
    move(project, "student-p50")
    assert [line.number for line in lines_of(project)] == [1, 2, 3, 4]


def test_the_uses_of_a_test_split_outlast_the_store(moved_project):
    """Each promotion that it has decided, and each model that these have judged."""
    project = moved_project
    (project.root / STORE / "mlflow.db").unlink()
    register(project.root, project.params)
    store = find_store(project.root)
    with connect(store) as client:
        use = find_use(open_registry(client, store, "digits"), SPLIT, [])
    assert (use.promotions, use.models, use.unknown) == (3, 3, 0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"test_split": 1, "candidates": {}}', "[" * 9999]
)
def test_a_report_without_a_test_split_gives_no_tags(text):
    assert tags_of_report(text) == {}


def test_with_the_whole_store_gone_the_lost_content_is_named(moved_project):
    project = moved_project
    before, lines = contents(project), lines_of(project)
    shutil.rmtree(project.root / STORE)
    print_lost = partial(print_restored, "digits")
    (said,) = notices(lambda: register(project.root, project.params, on_restored=print_lost))
    assert "by-hand" in said
    assert before.pop("by-hand")[:12] in said
    assert_restored(project, before, lines)
    assert [line.to == "" for line in Audit(registry_of(project).client, "digits").moves()] == [
        True,
        False,
        False,
    ]


def test_an_older_copy_of_the_database_gets_the_later_moves(moved_project, tmp_path):
    project = moved_project
    older = tmp_path / "older.db"
    shutil.copy(project.root / STORE / "mlflow.db", older)
    move(project, "student-p50")
    move(project, "student")
    move(project, "teacher")
    before, lines = contents(project), lines_of(project)
    shutil.copy(older, project.root / STORE / "mlflow.db")
    assert set(missing(project.root, project.params)) == {"the audit"}
    register(project.root, project.params)
    assert_restored(project, before, lines)


STEPS = [
    ("create_registered_model", 2, "after"),
    ("create_model_version", 4, "after"),
    ("set_registered_model_alias", 4, "after"),
    ("log_text", 2, "after"),
    ("create_model_version", 6, "before"),
    ("create_model_version", 6, "after"),
    ("set_registered_model_tag", 1, "before"),
    ("set_registered_model_tag", 1, "after"),
]


@pytest.mark.parametrize(
    "step", mostly_slow(STEPS, STEPS[3], STEPS[6]), ids=lambda step: "-".join(map(str, step))
)
def test_killed_at_any_step_the_next_registration_completes_the_restoration(moved_project, step):
    project = moved_project
    before, lines = contents(project), lines_of(project)
    (project.root / STORE / "mlflow.db").unlink()

    def work():
        crashing(*step)()
        register(project.root, project.params)

    assert exit_status(in_a_process(work)) == -signal.SIGKILL
    register(project.root, project.params)
    assert_restored(project, before, lines)
    versions = registry_of(project).client.search_model_versions("name = 'digits'")
    tags = [(one.tags["espalier.entry"], one.tags["espalier.content"]) for one in versions]
    assert len(tags) == len(set(tags)) == 4


@pytest.mark.slow
def test_a_new_server_gets_everything(moved_project, tmp_path, monkeypatch):
    """The moves of the lost server, and those of another checkout, are in one audit."""
    project = moved_project
    before, lines = contents(project), lines_of(project)
    with serving(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with connect(find_store(project.root)) as client:
            client.create_registered_model("digits.restoring")
        monkeypatch.setattr(turns, "_EXPIRES_AFTER", 600_000)
        with pytest.raises(TryAgain, match="found one that began"):
            register(project.root, project.params)
        monkeypatch.setattr(turns, "_EXPIRES_AFTER", 0)
        register(project.root, project.params)
        assert_restored(project, before, lines)
        other = tmp_path / "other"
        shutil.copytree(project.root, other, ignore=shutil.ignore_patterns("store"))
        move(project, "teacher")
        register(other, project.params)
        own, theirs = (
            AuditFile.of(find_store(root), "digits").path for root in (project.root, other)
        )
        assert own != theirs
        assert own.read_bytes() == theirs.read_bytes()
        assert len(lines_of(project)) == 4
        take_a_turn_that_another_machine_ends(registry_of(project), monkeypatch)


def take_a_turn_that_another_machine_ends(registry, monkeypatch):
    """The other turn ends between the two requests that look for it."""
    client, get = registry.client, type(registry.client).get_registered_model
    client.create_registered_model("digits.restoring")

    def get_too_late(client, name):
        monkeypatch.setattr(type(client), "get_registered_model", get)
        client.delete_registered_model(name)
        return get(client, name)

    monkeypatch.setattr(turns, "_EXPIRES_AFTER", 600_000)
    monkeypatch.setattr(type(client), "get_registered_model", get_too_late)
    with turns.take_turns(registry):
        pass


def test_the_audit_in_the_store_is_written_again_from_its_file(moved_project, capsys):
    project = moved_project
    before, lines = contents(project), lines_of(project)
    client = registry_of(project).client
    client.set_model_version_tag("digits.audit", "1", "espalier.to", "3")
    client.delete_model_version("digits.audit", "2")
    assert len(notices(register, project.root, project.params)) == 1
    with pytest.raises(BadInput, match="Expected line 2 of"):
        list_models.run(project.root)
    restore.run(project.root)
    assert "3 moves restored" in capsys.readouterr().out
    assert_restored(project, before, lines)
    list_models.run(project.root)


def test_another_registered_model_is_restored_by_its_name(moved_project, tmp_path):
    """A copy in the same store, whose audit is lost with the database."""
    project = moved_project
    client = registry_of(project).client
    version = client.get_model_version_by_alias("digits", "champion")
    content = version.tags["espalier.content"]
    store = find_store(project.root)
    with connect(store) as connected:
        registry = open_registry(connected, store, "prod.digits")
        connected.create_model_version(
            "prod.digits", version.source, version.run_id, tags=version.tags
        )
        request = AliasMove(
            "champion", None, "1", content, None, "copied", version.run_id, "student"
        )
        move_alias(registry, request)
    (project.root / STORE / "mlflow.db").rename(tmp_path / "damaged.db")
    register(project.root, project.params)
    with connect(store), pytest.raises(BadInput, match=r"espalier restore --in prod\.digits"):
        sync_audit(registry)
    restore.run(project.root, within="prod.digits")
    champion = client.get_model_version_by_alias("prod.digits", "champion")
    assert champion.tags["espalier.content"] == content
    with connect(store):
        sync_audit(registry)
        fetch(registry, str(champion.version), tmp_path / "fetched")


def test_an_alias_that_was_moved_past_the_audit_is_kept(moved_project, tmp_path):
    project = moved_project
    older = tmp_path / "older.db"
    client = registry_of(project).client
    client.set_registered_model_alias("digits", "champion", "1")  # by hand
    shutil.copy(project.root / STORE / "mlflow.db", older)
    client.set_registered_model_alias("digits", "champion", "4")
    move(project, "student-p50")
    shutil.copy(older, project.root / STORE / "mlflow.db")
    register(project.root, project.params)
    assert client.get_model_version_by_alias("digits", "champion").version == 1
    assert len(Audit(client, "digits").lines()) == 4


def test_a_damaged_database_is_refused_with_the_way_to_restore_it(moved_project):
    project = moved_project
    database = project.root / STORE / "mlflow.db"
    database.write_bytes(b"no database")
    with pytest.raises(BadInput) as refused:
        register(project.root, project.params)
    for words in (str(database), "Move it away", "espalier restore", "espalier register", "lost"):
        assert words in str(refused.value)
    database.unlink()
    register(project.root, project.params)
    assert check_audit(registry_of(project)) == ""


def test_nothing_is_restored_into_an_experiment(moved_project, monkeypatch):
    project = moved_project
    shutil.rmtree(project.root / STORE)
    monkeypatch.setenv("DVC_EXP_NAME", "try")
    register(project.root, project.params)
    assert Audit(registry_of(project).client, "digits").lines() == []


def test_a_first_registration_writes_the_aliases(project):
    register(project.root, project.params)
    file = AuditFile.of(find_store(project.root), "digits")
    assert set(file.aliases()) == {"teacher", "student", "student-p50"}
    assert not file.path.exists()
    files.write_json(file.path.with_name("digits.aliases.json"), {"champion": 3})
    with pytest.raises(BadInput, match="another value for 'champion'"):
        file.aliases()

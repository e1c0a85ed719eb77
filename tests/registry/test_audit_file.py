"""The audit as a file of the project: nothing of it can be changed, removed or inserted without being named."""

import json
import shutil
import signal
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registry.aliases import Place, crash, crashing, exit_status, in_a_process

from espalier.errors import BadInput, Notice
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import sync_audit
from espalier.registry.promotion.audit_file import AuditFile
from espalier.registry.promotion.audit_sync import check_audit, moved_past_audit
from espalier.registry.promotion.errors import ConcurrentMoveError


@pytest.fixture(scope="module")
def moved_place(tmp_path_factory, empty_store):
    """A registered model with the champion's moves 1 -> 2 -> 3 -> 1, in a local store."""
    root = tmp_path_factory.mktemp("moved")
    shutil.copytree(empty_store, root / "mlflow" / "store")
    place = Place.of(root, f"sqlite:///{root}/mlflow/store/mlflow.db")
    for former, to in ("12", "23", "31"):
        place.move(expected=former, to=to)
    return place


@pytest.fixture
def place(moved_place, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(moved_place.root, root)
    uri = f"sqlite:///{root}/mlflow/store/mlflow.db"
    return Place(root, uri, moved_place.name, moved_place.request)


@pytest.fixture
def file(place):
    return AuditFile.of(place.registry.store, place.name)


def sync(place, root=None):
    store, registry = find_store(root or place.root, place.uri), place.registry
    with connect(store):
        sync_audit(registry)


def set_column(place, number, column, value):
    """Change the store past Espalier, as every client of MLflow can."""
    client = MlflowClient(place.uri, place.uri)
    client.set_model_version_tag(f"{place.name}.audit", str(number), f"espalier.{column}", value)


def change(file, number, **columns):
    """Change columns of a line of the file."""
    lines = file.path.read_text().splitlines()
    lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | columns)
    file.path.write_text("\n".join(lines) + "\n")


def test_each_move_is_a_line_with_the_hash_of_the_line_before(place, file):
    lines = file.read()
    assert [(line.move.former, line.move.to) for line in lines] == [
        ("1", "2"),
        ("2", "3"),
        ("3", "1"),
    ]
    assert [line.before for line in lines[1:]] == [line.sha256 for line in lines[:-1]]
    assert [line.move for line in lines] == place.lines()
    assert check_audit(place.registry) == ""
    assert file.aliases()["champion"]["version"] == "1"


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("column", "value"), [("to", "9"), ("who", "nobody@nowhere"), ("when", 1), ("state", "lost")]
)
def test_a_changed_column_of_the_file_is_named_with_its_line(place, file, number, column, value):
    change(file, number, **{column: value})
    problem = check_audit(place.registry)
    assert f"`{column}` of line {number}" in problem
    assert f"{file.shown} was altered" in problem
    with pytest.raises(BadInput, match=f"`{column}` of line {number}"):
        sync(place)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(("column", "value"), [("to", "9"), ("who", "nobody"), ("state", "foo")])
def test_a_changed_column_of_the_store_is_named_with_its_line(place, file, number, column, value):
    set_column(place, number, column, value)
    problem = check_audit(place.registry)
    assert f"`{column}` of line {number}" in problem
    assert "mlflow.db was altered" in problem
    assert "espalier restore" in problem
    file.path.unlink()  # without the file, the hash in the store shows it
    assert f"line {number}" in check_audit(place.registry)


def test_a_line_that_was_removed_or_inserted_is_named(place, file):
    first, second, third = file.path.read_text().splitlines()
    for lines, number in (
        ([second, third], 1),
        ([first, third], 2),
        ([first, first, second, third], 2),
        ([first, third, second], 2),
    ):
        file.path.write_text("\n".join(lines) + "\n")
        assert f"`number` of line {number}" in check_audit(place.registry)
    file.path.write_text("\n".join([first, second.replace(": ", ":  ", 1), third]) + "\n")
    assert f"line 2 of {file.shown}" in check_audit(place.registry)


def test_a_line_removed_from_the_store_is_named(place):
    client = MlflowClient(place.uri, place.uri)
    client.delete_model_version(f"{place.name}.audit", "2")
    assert "Expected line 2 of" in check_audit(place.registry)


def test_lines_of_another_registered_model_are_no_chain_of_this_one(place, file):
    other = Place.of(place.root, place.uri)
    shutil.copy(file.path, AuditFile.of(other.registry.store, other.name).path)
    with pytest.raises(BadInput, match="of line 1"):
        sync(other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Expecting value"),
        ("[1]", "a list"),
        ("[" * 100_000, "lists in lists|Expecting value|recursion"),
        ('{"number": 1}', "the column `alias` absent"),
        ("\udcff", "invalid"),
    ],
)
def test_a_damaged_line_is_named(place, file, text, found):
    kept = file.path.read_text()
    file.path.write_text(kept + text + "\n", errors="surrogateescape")
    with pytest.raises(BadInput, match=rf"Expected line 4 of .*{found}.*from git"):
        sync(place)


def test_a_shorter_file_is_completed_from_the_store_by_the_same_bytes(place, file):
    complete = file.path.read_bytes()
    file.path.write_bytes(b"".join(complete.splitlines(keepends=True)[:1]))
    assert check_audit(place.registry) == ""
    sync(place)
    assert file.path.read_bytes() == complete
    file.path.unlink()
    sync(place)
    assert file.path.read_bytes() == complete


def test_a_store_that_lacks_lines_is_sent_to_registration(place, file):
    client = MlflowClient(place.uri, place.uri)
    client.delete_registered_model(f"{place.name}.audit")
    kept = file.path.read_bytes()
    with pytest.raises(BadInput, match=r"3 moves.*found 0.*espalier register"):
        sync(place)
    assert file.path.read_bytes() == kept


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_the_file_is_written_the_next_move_writes_both_lines(place, file, when):
    real = Path.replace

    def replace(draft, target):
        if target == file.path and when == "before":
            crash()
        real(draft, target)
        if target == file.path:
            crash()

    def work():
        Path.replace = replace  # in the process that is killed
        place.move(expected="1", to="2")

    assert exit_status(in_a_process(work)) == -signal.SIGKILL
    assert len(file.read()) == (4 if when == "after" else 3)
    place.move(expected="2", to="3")
    assert [line.move.to for line in file.read()] == ["2", "3", "1", "2", "3"]
    assert check_audit(place.registry) == ""
    assert [path.name for path in file.path.parent.glob(".*")] == []


def test_an_interrupted_move_gets_its_line_when_it_is_closed(place, file):
    process = place.move_in_a_process(
        crashing("set_registered_model_alias", 1, "after"), expected="1", to="2"
    )
    assert exit_status(process) == -signal.SIGKILL
    sync(place)
    assert len(file.read()) == 3  # the line is open: its state may still change
    place.move(expected="2", to="3")
    assert [line.move.state for line in file.read()][3:] == ["done", "done"]


def test_lost_moves_are_lines_too(place, file):
    with pytest.raises(ConcurrentMoveError):
        place.move(expected="3", to="2")
    assert file.read()[-1].move.state == "lost"


def test_a_file_that_cannot_be_written_is_a_warning_after_the_move(place, file):
    shutil.rmtree(file.path.parent)
    file.path.parent.write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        place.move(expected="1", to="2")
    assert place.version_of("champion") == "2"
    assert [one.category for one in caught] == [Notice]
    assert str(file.path) in str(caught[0].message)
    file.path.parent.unlink()
    sync(place)
    assert [line.move.to for line in file.read()] == ["2", "3", "1", "2"]


def test_an_alias_that_was_moved_by_hand_is_named(place):
    assert moved_past_audit(place.registry) == []
    place.client.set_registered_model_alias(place.name, "champion", "2")
    (sentence,) = moved_past_audit(place.registry)
    assert "@champion to be at version 1" in sentence
    assert "found 2" in sentence
    assert check_audit(place.registry) == ""


def test_two_checkouts_of_one_store_write_the_same_bytes(place, file, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
    shared = tmp_path / "shared.db"  # a store outside both
    shutil.copy(place.root / "mlflow" / "store" / "mlflow.db", shared)
    uri = f"sqlite:///{shared}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    checkouts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        checkout = Place(tmp_path / name, uri, place.name, place.request)
        checkouts.append(checkout)
    checkouts[0].move(expected="1", to="3")
    checkouts[1].move(expected="3", to="2")
    sync(checkouts[0], checkouts[0].root)
    paths = [tmp_path / one / "mlflow" / "audit" / f"{place.name}.jsonl" for one in ("one", "two")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_bytes().splitlines()) == 5


def test_a_store_beside_the_own_has_its_address_in_the_file_name(tmp_path, monkeypatch):
    root, other = tmp_path / "ours", tmp_path / "theirs"
    for folder in (root, other):
        folder.mkdir()
        (folder / "params.yaml").write_text("")
    stores = [
        find_store(root, at)
        for at in (
            None,
            "sqlite:///mlflow/store/mlflow.db",
            "https://ann:secret@there.example:8080",
            f"sqlite:///{other}/mlflow/store/mlflow.db",
        )
    ]
    paths = []
    for store in stores:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)  # as a connection to the store does
        paths.append(AuditFile.of(store, "prod.digits").path)
    assert paths == [
        root / "mlflow/audit/prod.digits.jsonl",
        root / "mlflow/audit/prod.digits.jsonl",
        root / "mlflow/audit/prod.digits@ann_there.example_8080.jsonl",
        other / "mlflow/audit/prod.digits.jsonl",
    ]


@pytest.fixture
def shared(place, tmp_path):
    """The same registered model in a store outside the project, which is not its own."""
    database = tmp_path / "shared" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(place.root / "mlflow" / "store" / "mlflow.db", database)
    (tmp_path / "ours").mkdir()
    return Place(tmp_path / "ours", f"sqlite:///{database}", place.name, place.request)


def test_files_of_former_versions_without_the_address_are_taken_over(shared):
    shared.move(expected="1", to="2")
    file = AuditFile.of(shared.registry.store, shared.name)
    former = file.path.with_name(f"{shared.name}.jsonl")
    file.keep_report("a gate report")
    before = contents_of(file.path.parent)
    for path in list(file.path.parent.iterdir()):
        path.rename(path.with_name(path.name.replace(file.path.stem, former.stem)))
    sync(shared)
    assert contents_of(file.path.parent) == before
    assert not former.exists()


def contents_of(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def test_a_file_without_the_address_that_has_lines_of_another_store_stays(shared):
    shared.move(expected="1", to="2")
    file = AuditFile.of(shared.registry.store, shared.name)
    former = file.path.rename(file.path.with_name(f"{shared.name}.jsonl"))
    change(replace(file, path=former), 4, to="3")
    kept = former.read_bytes()
    sync(shared)
    assert former.read_bytes() == kept
    assert len(file.read()) == 4

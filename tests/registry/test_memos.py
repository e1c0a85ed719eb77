"""A memo spares a check only while nothing that the check reads has changed, by any byte."""

import os
import shutil
import subprocess
import sys

import pytest
from mlflow import MlflowClient
from selection import mostly_slow

from espalier import files
from espalier.registry import is_registered, missing, register
from espalier.registry.connection import connect, find_store
from espalier.registry.memos import memo as memos


@pytest.fixture
def checked(project):
    """A project that is registered, with the memo of a check that found nothing."""
    register(project.root, project.params)
    assert missing(project.root, project.params) == {}
    assert is_registered(project.root)
    return project


def client_of(project):
    return MlflowClient(find_store(project.root).uri)


def stored(project, name):
    """A file of the version of `student`."""
    client = client_of(project)
    version = client.get_model_version_by_alias("digits", "student")
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    return project.root / logged.artifact_location / name


def memo(project):
    (path,) = (project.root / ".espalier" / "memos").iterdir()
    return path


def altered(path):
    """One bit of a file differs; size and times are as before."""
    content, times = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def appended(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("\n")


def linked(folder):
    """A folder becomes a link to an equal one."""
    shutil.move(folder, folder.with_name("moved"))
    folder.symlink_to(folder.with_name("moved"))


CHANGES = {
    "a comment in params.yaml": lambda one: appended(one.root / "params.yaml"),
    "gates": lambda one: appended(one.root / "mlflow" / "gates.yaml"),
    "a bit of a model": lambda one: altered(one.root / "models" / "student" / "model.onnx"),
    "a lineage": lambda one: appended(one.root / "models" / "student" / "lineage.json"),
    "another file beside a model": lambda one: appended(one.root / "models" / "student" / "x"),
    "a model as a link": lambda one: linked(one.root / "models" / "student"),
    "the table of the report": lambda one: appended(one.root / "reports" / "models.csv"),
    "predictions": lambda one: appended(one.root / "reports" / "predictions" / "x.parquet"),
    "prepared data": lambda one: appended(one.root / "prepared" / "dataset.json"),
    "the test split": lambda one: appended(one.root / "prepared" / "test.safetensors"),
    "an audit": lambda one: appended(one.root / "mlflow" / "audit" / "digits.jsonl"),
    "a bit of a stored file": lambda one: altered(stored(one, "weights.safetensors")),
    "a stored file that is gone": lambda one: stored(one, "MLmodel").unlink(),
    "a link among stored files": lambda one: stored(one, "passwd").symlink_to("/etc/passwd"),
    "a moved alias": lambda one: client_of(one).set_registered_model_alias(
        "digits", "student", "1"
    ),
    "an alias that is gone": lambda one: client_of(one).delete_registered_model_alias(
        "digits", "student"
    ),
    "a tag": lambda one: client_of(one).set_model_version_tag("digits", "2", "x", "y"),
    "a journal of a killed writer": lambda one: appended(
        one.root / "mlflow" / "store" / "mlflow.db-journal"
    ),
    "no database": lambda one: (one.root / "mlflow" / "store" / "mlflow.db").unlink(),
    "a cut memo": lambda one: memo(one).write_text(memo(one).read_text()[:-20]),
    "a memo of another form": lambda one: memo(one).write_text("[]"),
    "folders of another form": lambda one: edit(memo(one), folders=3),
    "another outcome": lambda one: edit(memo(one), found={"x": 1}),
    "fewer folders": lambda one: edit(memo(one), folders=[]),
}


def edit(path, **changed):
    files.write_json(path, files.read_json(path) | changed)


@pytest.mark.parametrize(
    "change",
    mostly_slow(
        CHANGES,
        "gates",
        "a bit of a model",
        "a bit of a stored file",
        "a moved alias",
        "a cut memo",
    ),
)
def test_each_change_voids_a_memo(checked, change):
    CHANGES[change](checked)
    assert not is_registered(checked.root)


def test_a_change_that_is_taken_back_byte_for_byte_leaves_the_memo_valid(checked):
    path = stored(checked, "weights.safetensors")
    altered(path)
    assert not is_registered(checked.root)
    altered(path)
    assert is_registered(checked.root)


SURROUNDINGS = {
    "another store": lambda patch: patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db"),
    "a server": lambda patch: patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9"),
    "a registry of its own": lambda patch: patch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9"),
    "a library": lambda patch: patch.setattr(memos.metadata, "version", lambda name: f"{name} 0"),
    "a processor": lambda patch: patch.setattr(memos, "processor", lambda: "another"),
    "a Python": lambda patch: patch.setattr(memos.platform, "python_version", lambda: "4"),
}  # fmt: skip


@pytest.mark.parametrize("change", mostly_slow(SURROUNDINGS, "another store", "a library"))
def test_other_surroundings_void_a_memo(checked, monkeypatch, change):
    SURROUNDINGS[change](monkeypatch)
    assert not is_registered(checked.root)


def test_a_check_writes_nothing_into_the_store(checked):
    """Otherwise it would void its own memo, and a reader of the store that of others."""
    before = files.sha256(checked.root / "mlflow" / "store" / "mlflow.db")
    with connect(find_store(checked.root)) as client:
        client.search_registered_models()
    missing(checked.root, checked.params)
    assert files.sha256(checked.root / "mlflow" / "store" / "mlflow.db") == before


def test_no_memo_of_a_check_during_which_something_changed(checked, monkeypatch):
    memo(checked).unlink()

    def change(_registry):
        appended(checked.root / "params.yaml")  # after the check has read it
        return 0

    module = sys.modules["espalier.registry.register"]  # the package has a function of that name
    monkeypatch.setattr(module, "lines_lacking", change)
    assert missing(checked.root, checked.params) == {}
    assert not is_registered(checked.root)


def test_no_memo_where_a_model_is_missing_or_a_stored_file_has_another_content(checked):
    altered(stored(checked, "weights.safetensors"))  # of the same size: the check does not see it
    memo(checked).unlink()
    assert missing(checked.root, checked.params) == {}
    assert not is_registered(checked.root)
    client_of(checked).delete_registered_model_alias("digits", "student")
    assert missing(checked.root, checked.params) == {"student": "no version"}
    assert not is_registered(checked.root)


def test_a_memo_that_cannot_be_written_fails_nothing(checked):
    shutil.rmtree(checked.root / ".espalier" / "memos")
    (checked.root / ".espalier" / "memos").write_text("a file")
    assert missing(checked.root, checked.params) == {}


def test_reading_a_memo_imports_neither_torch_nor_mlflow(checked):
    code = (
        "import sys; from pathlib import Path; from espalier.registry import is_registered\n"
        f"assert is_registered(Path({str(checked.root)!r}))\n"
        "print([name for name in ('mlflow', 'torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

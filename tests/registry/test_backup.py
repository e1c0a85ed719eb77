"""A backup holds the whole registry, and a damaged or forged one writes nothing."""

import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from copy import copy
from pathlib import Path

import pytest
from registry.projects import Project
from small_disks import mounted

from espalier import files
from espalier.commands import backup, restore
from espalier.errors import BadInput, EspalierError, TryAgain
from espalier.registry import missing, register
from espalier.registry.connection.store import connect, find_store
from espalier.registry.versions import Registry, fetch

STORE = "mlflow/store"


@pytest.fixture(scope="module")
def registered(tmp_path_factory, empty_store):
    project = Project(tmp_path_factory.mktemp("registered") / "project")
    shutil.copytree(empty_store, project.root / STORE)
    register(project.root, project.params)
    archive = backup.run(project.root)
    return project, archive


@pytest.fixture
def archive(registered, tmp_path):
    return shutil.copy(registered[1], tmp_path / "backup.tar")


@pytest.fixture
def empty(registered, tmp_path):
    """The project without its store and its audit."""
    root = tmp_path / "project"
    shutil.copytree(registered[0].root, root, ignore=shutil.ignore_patterns("mlflow", "backups"))
    return root


def tree(folder):
    return {
        path.relative_to(folder): files.sha256(path) for path in folder.rglob("*") if path.is_file()
    }


def test_everything_is_restored(registered, archive, empty, tmp_path):
    project, _ = registered
    restore.run(empty, archive)
    kept = tree(project.root / STORE / "artifacts")
    assert tree(empty / STORE / "artifacts") == kept
    assert len(kept) > 20
    assert tree(empty / "mlflow" / "audit") == tree(project.root / "mlflow" / "audit")
    assert missing(empty, project.params) == {}
    store = find_store(empty)
    with connect(store) as client:
        fetch(Registry(client, store, "digits"), "2", tmp_path / "fetched")
    assert not any(one.new for one in register(empty, project.params))


def test_the_name_of_a_backup_has_model_and_time_and_git_ignores_it(registered):
    project, archive = registered
    assert archive.parent == project.root / "backups"
    assert archive.name.startswith("digits-20")
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def test_an_interrupted_restoration_is_completed(registered, archive, empty):
    """A file of a crash is written again, an intact one is kept, and the database comes last."""
    project, _ = registered
    path = next(path for path in (project.root / STORE).rglob("model.onnx"))
    place = path.relative_to(project.root)
    (empty / place.parent).mkdir(parents=True)
    (empty / place).write_bytes(b"half")
    restore.run(empty, archive)
    assert missing(empty, project.params) == {}


def test_a_database_in_place_is_not_replaced(registered, archive):
    project, _ = registered
    before = files.sha256(project.root / STORE / "mlflow.db")
    with pytest.raises(BadInput, match="found one: move it away first"):
        restore.run(project.root, archive)
    with pytest.raises(BadInput, match="not to exist yet"):
        backup.run(project.root, archive)
    with pytest.raises(
        BadInput, match="absent to exist"
    ):  # before one is asked to move the database
        restore.run(project.root, archive.with_name("absent"))
    assert files.sha256(project.root / STORE / "mlflow.db") == before


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 5")
for table in ("tags", "params", "metrics", "model_version_tags"):
    connection.execute(f"UPDATE {table} SET value = value || '1'")
os._exit(1)
"""


@pytest.mark.parametrize("way", ["restored", "new"])
def test_the_journal_of_a_killed_process_changes_no_other_database(
    registered, archive, tmp_path, way
):
    """It is kept beside it, under another name."""
    project = copy(registered[0])
    project.root = tmp_path / "copy"
    shutil.copytree(registered[0].root, project.root)
    database = project.root / STORE / "mlflow.db"
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TABLE grown (x)")
        opened.executemany("INSERT INTO grown VALUES (?)", [("x" * 2000,)] * 400)
    subprocess.run([sys.executable, "-c", KILLED, str(database)], check=False)
    left = database.with_name("mlflow.db-journal").read_bytes()
    database.rename(tmp_path / "damaged.db")
    if way == "restored":
        restore.run(project.root, archive)
    register(project.root, project.params)
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not opened.execute("SELECT * FROM sqlite_master WHERE name = 'grown'").fetchall()
    assert missing(project.root, project.params) == {}
    (kept,) = database.parent.glob("mlflow.db-journal.*")
    assert kept.read_bytes() == left


@pytest.mark.parametrize("place", ["params.yaml/backup.tar", "/proc/backup.tar", "x" * 300])
def test_a_place_where_no_archive_can_be_written_is_named(registered, place, monkeypatch):
    project, _ = registered
    monkeypatch.chdir(project.root)
    with pytest.raises(BadInput, match=rf"Expected .*{place} to be writable; found: "):
        backup.run(project.root, Path(place))
    assert not list(project.root.glob(".backup-*"))


def test_a_backup_for_which_the_disk_has_no_room_can_be_tried_again(registered, tmp_path):
    project, archive = registered
    size = archive.stat().st_size
    for kilobytes in (64, size // 1024):  # too little for the database; for database and archive
        with mounted(tmp_path / f"small-{kilobytes}", f"{kilobytes}k") as disk:
            with pytest.raises(TryAgain, match=rf"room on the disk for {disk}/backup\.tar"):
                backup.run(project.root, disk / "backup.tar")
            assert list(disk.iterdir()) == []


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_a_damaged_backup_writes_nothing(archive, empty, kind, place):
    content = bytearray(archive.read_bytes())
    at = _in_a_member(archive, place)
    if kind == "cut":
        content = content[:at]
    else:
        content[at] ^= 1
    archive.write_bytes(content)
    with pytest.raises(BadInput, match=r"Expected .*backup\.tar"):
        restore.run(empty, archive)
    assert not (empty / "mlflow").exists()


def _in_a_member(archive, place):
    """A byte of the content of a file in the archive; padding between files is part of none."""
    with tarfile.open(archive) as backup:
        members = [one for one in backup.getmembers() if one.size > 10]
    member = members[int(place * (len(members) - 1))]
    return member.offset_data + member.size // 2


@pytest.mark.parametrize(
    "name",
    ["store/artifacts/../../../evil", "audit/../../evil", "/etc/evil", "params.yaml", "store/evil"],
)
def test_a_name_that_leads_out_of_the_store_is_refused(archive, empty, name):
    with tarfile.open(archive) as backup:
        listed = json.load(backup.extractfile("backup.json"))
    evil = b"evil"
    listed[name] = hashlib.sha256(evil).hexdigest()
    _append(archive, {name: evil, "backup.json": json.dumps(listed).encode()})
    with pytest.raises(BadInput, match="found the member"):
        restore.run(empty, archive)
    assert not (empty / "mlflow").exists()


def test_a_link_in_a_backup_is_no_file(archive, empty):
    with tarfile.open(archive, "a") as backup:
        link = tarfile.TarInfo("store/mlflow.db")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        backup.addfile(link)
    with pytest.raises(BadInput, match=r"no 'store/mlflow\.db'"):
        restore.run(empty, archive)


def _append(archive, members):
    with tarfile.open(archive, "a") as backup:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            backup.addfile(info, io.BytesIO(content))


def test_a_file_of_another_kind_and_an_absent_one_are_no_backups(empty, tmp_path):
    (tmp_path / "text").write_text("no archive")
    for path in (tmp_path / "text", tmp_path / "absent"):
        with pytest.raises(BadInput, match=f"Expected .*{path.name}"):
            restore.run(empty, path)


def test_a_newer_audit_in_place_is_kept(archive, empty):
    path = empty / "mlflow" / "audit" / "digits.aliases.json"
    files.write(path, "{}\n")
    restore.run(empty, archive)
    assert path.read_text() == "{}\n"


def test_a_server_is_backed_up_there_and_nothing_is_no_database(registered, tmp_path, monkeypatch):
    project, _ = registered
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(BadInput, match="found the server"):
        backup.run(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/absent.db")
    with pytest.raises(EspalierError, match="no database there"):
        backup.run(project.root, tmp_path / "backup.tar")

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from properties import assert_explains

from espalier import files, folders
from espalier.errors import BadInput


@pytest.fixture
def sealed(tmp_path):
    folder = tmp_path / "model"
    files.write(folder / "weights.bin", b"weights")
    files.write(folder / "note.txt", "words")
    files.seal(folder)
    return folder


def test_a_written_file_is_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    files.write(path, "first")
    files.write(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failure_leaves_the_former_file_and_nothing_beside_it(tmp_path, monkeypatch, moment):
    path = tmp_path / "file"
    files.write(path, "first")

    def full(*given):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(f"pathlib.Path.{moment}" if moment == "replace" else "os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "second")
    monkeypatch.undo()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
    files.write(path, "second")
    assert path.read_text() == "second"


def test_a_file_is_on_the_disk_before_its_name_is_seen(tmp_path, monkeypatch):
    events = []
    flush = os.fsync
    monkeypatch.setattr(
        "os.fsync", lambda handle: (events.append((tmp_path / "file").exists()), flush(handle))
    )
    files.write(tmp_path / "file", "content")
    assert events == [False, True]  # the content before the renaming, the folder after it


def test_a_seal_holds_hash_and_size_of_every_file(sealed):
    assert files.verify(sealed) == {
        "note.txt": files.sha256(sealed / "note.txt"),
        "weights.bin": hashlib.sha256(b"weights").hexdigest(),
    }
    manifest = json.loads((sealed / "manifest.json").read_text())
    assert {name: entry["bytes"] for name, entry in manifest["files"].items()} == {
        "note.txt": 5,
        "weights.bin": 7,
    }


def test_a_known_hash():
    assert files.digest({"b": 1, "a": [None, "x"]}) == files.digest({"a": [None, "x"], "b": 1})
    assert files.digest("abc") == "6cc43f858fbb763301637b5af970e2a46b46f461f27e5a0f41e009c59b827b25"


@pytest.mark.parametrize("damage", ["change", "shorten", "remove"])
def test_a_damaged_file_is_named(sealed, damage):
    path = sealed / "note.txt"
    if damage == "remove":
        path.unlink()
    else:
        path.write_text("wards" if damage == "change" else "word")
    with pytest.raises(BadInput) as caught:
        files.verify(sealed)
    assert_explains(caught.value, str(path))


def test_files_of_sub_folders_are_sealed_on_request_and_hidden_ones_never(sealed):
    files.write(sealed / "inner" / "deep" / "table.csv", "a")
    files.write(sealed / "inner" / ".hidden", "a")
    files.seal(sealed)
    assert set(files.verify(sealed)) == {"note.txt", "weights.bin"}
    files.seal(sealed, nested=True)
    assert set(files.verify(sealed, nested=True)) == {
        "inner/deep/table.csv",
        "note.txt",
        "weights.bin",
    }
    with pytest.raises(BadInput, match=r"plain file names .*found 'inner/deep/table\.csv'"):
        files.verify(sealed)
    (sealed / "inner" / "deep" / "table.csv").write_text("b")
    with pytest.raises(BadInput, match=r"inner/deep/table\.csv .*`espalier repair`"):
        files.verify(sealed, nested=True)


@pytest.mark.parametrize(
    "name", ["inner/../../evil", "../evil", "/etc/passwd", "inner//x", "inner/.x", "inner/"]
)
def test_a_name_that_leads_elsewhere_is_refused_before_it_is_a_path(sealed, name):
    files.seal(sealed, nested=True)
    content = files.read_json(sealed / "manifest.json")
    content["files"][name] = content["files"]["note.txt"]
    files.write_json(sealed / "manifest.json", content)
    with pytest.raises(BadInput) as caught:
        files.verify(sealed, nested=True)
    assert_explains(caught.value, str(sealed / "manifest.json"), name)


def test_a_folder_without_a_seal_does_not_count(sealed):
    (sealed / "manifest.json").unlink()
    with pytest.raises(BadInput) as caught:
        files.verify(sealed)
    assert_explains(caught.value, str(sealed), "manifest.json", "make it again")
    with pytest.raises(BadInput) as caught:
        files.verify(sealed / "nothing")
    assert_explains(caught.value, str(sealed / "nothing"), "found no folder")


def test_a_folder_takes_the_place_of_the_former_one_in_one_step(sealed, tmp_path):
    with folders.replacing(sealed, tmp_path / "work") as draft:
        (draft / "new").write_text("new")
        assert (sealed / "weights.bin").exists()
    assert [path.name for path in sealed.iterdir()] == ["new"]
    assert list((tmp_path / "work").iterdir()) == []


def test_a_failure_inside_leaves_the_former_folder(sealed, tmp_path):
    def interrupted():
        with folders.replacing(sealed, tmp_path / "work") as draft:
            (draft / "new").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    files.verify(sealed)
    assert list((tmp_path / "work").iterdir()) == []


def kill_between_the_renames(sealed, work):
    """A process that is killed after it has moved the former folder away, and before the new one is there."""
    code = (
        "import os, sys; from pathlib import Path; from espalier import folders\n"
        "rename = Path.rename\n"
        "def until(self, target):\n"
        "    if self.parent == Path(sys.argv[2]) and Path(target) == Path(sys.argv[1]):\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return rename(self, target)\n"
        "Path.rename = until\n"
        "with folders.replacing(Path(sys.argv[1]), Path(sys.argv[2])) as draft:\n"
        "    (draft / 'new').write_text('new')\n"
    )
    return subprocess.run([sys.executable, "-c", code, sealed, work], check=False).returncode


def test_a_folder_that_a_killed_process_had_moved_away_comes_back(sealed, tmp_path):
    before = {path.name: path.read_bytes() for path in sealed.iterdir()}
    long_ago = time.time() - 1e6
    os.utime(sealed, (long_ago, long_ago))
    assert kill_between_the_renames(sealed, tmp_path / "work") == -signal.SIGKILL
    assert not sealed.exists()
    (moved,) = (tmp_path / "work").glob("*.former")
    assert time.time() - moved.stat().st_mtime < 60  # no leftover that is old enough to be swept

    def fail():
        with folders.replacing(sealed, tmp_path / "work"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert {path.name: path.read_bytes() for path in sealed.iterdir()} == before


def test_a_hashed_name_distinguishes_damaged_from_intact_files(tmp_path):
    one = files.write_hashed(tmp_path, "view-1", ".bin", b"one")
    other = files.write_hashed(tmp_path, "view-1", ".bin", b"other")
    files.write_hashed(tmp_path, "view-10", ".bin", b"of another stem")
    assert files.find_hashed(tmp_path, "view-1", ".bin") == sorted([one, other])
    one.write_bytes(b"ono")
    assert files.find_hashed(tmp_path, "view-1", ".bin") == [other]


def test_json_holds_no_numbers_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "file", {"loss": float("nan")})
    assert not (tmp_path / "file").exists()


def test_a_json_file_that_is_missing_or_none_is_named(tmp_path):
    with pytest.raises(BadInput) as caught:
        files.read_json(tmp_path / "file")
    assert_explains(caught.value, str(tmp_path / "file"))
    (tmp_path / "file").write_text("{")
    with pytest.raises(BadInput) as caught:
        files.read_json(tmp_path / "file")
    assert_explains(caught.value, str(tmp_path / "file"), "JSON")

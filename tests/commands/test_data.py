import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from espalier.commands import data
from espalier.data.source import content_hash
from espalier.errors import BadInput
from espalier.waiting import Reminder

pytest.importorskip("dvc", reason="versions of data are DVC's")


def dvc(project: Path, *words: str) -> str:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def project(project_root, tmp_path) -> Path:
    """A DVC project whose data were never added."""
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    shutil.copytree(project_root / ".dvc" / "embedded", tmp_path / ".dvc" / "embedded")
    (tmp_path / "params.yaml").write_text(
        'data: {split: exact}\nteacher: {model: "espalier:resnet"}\n'
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("never added")
    return tmp_path


def test_new_data_are_versioned_and_the_old_can_be_had_again(project, capsys):
    data.run(project, "digits", None)
    said = capsys.readouterr().out
    assert "digits: 1222 train, 216 validation, 359 test; images, 1x8x8, 10 classes" in said
    assert content_hash(project / "data")[:12] in said
    assert "up to date" in dvc(project, "status", "data.dvc")
    objects = project / ".dvc" / "cache" / "files" / "md5"
    assert b"never added" in [path.read_bytes() for path in objects.rglob("*") if path.is_file()]


def test_the_next_step_names_weights_that_are_missing(project, capsys):
    teacher = '{by: import, model: "espalier:resnet", weights: weights/network.pth}'
    (project / "params.yaml").write_text(f"data: {{split: exact}}\nteacher: {teacher}\n")
    data.run(project, "digits", None)
    assert "then bring weights/network.pth of params.yaml" in capsys.readouterr().out
    (project / "weights").mkdir()
    (project / "weights" / "network.pth").touch()
    data.run(project, "digits", None)
    assert capsys.readouterr().out.rstrip().endswith("then espalier run")


def test_data_changed_by_hand_are_kept_too(project):
    data.run(project, "digits", None)
    (project / "data" / "note.txt").write_text("by hand")
    data.run(project, "digits", None)
    assert not (project / "data" / "note.txt").exists()
    objects = project / ".dvc" / "cache" / "files" / "md5"
    assert b"by hand" in [path.read_bytes() for path in objects.rglob("*") if path.is_file()]


def test_bad_data_change_neither_the_data_nor_their_version(project, tmp_path_factory):
    data.run(project, "digits", None)
    before, version = content_hash(project / "data"), (project / "data.dvc").read_text()
    bad = tmp_path_factory.mktemp("bad")
    (bad / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=r"train\.parquet to be a sound parquet file"):
        data.run(project, str(bad), None)
    assert content_hash(project / "data") == before
    assert (project / "data.dvc").read_text() == version


def test_a_busy_dvc_is_waited_for_with_a_sentence_and_the_old_data_stay_meanwhile(
    project, capsys, monkeypatch
):
    from dvc.lock import Lock

    held, reported, old = threading.Event(), threading.Event(), []
    say = Reminder.say

    def note(reminder, sentence):
        say(reminder, sentence)
        reported.set()

    def hold():
        with Lock(str(project / ".dvc" / "tmp" / "lock")):
            held.set()
            reported.wait(120)
            old.append((project / "data" / "mine.txt").read_text())

    monkeypatch.setattr(Reminder, "say", note)
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    data.run(project, "digits", None)
    thread.join()
    assert old == ["never added"]
    assert "waiting: another DVC command uses the same files" in capsys.readouterr().out
    assert (project / "data" / "digits.parquet").is_file()


def test_without_dvc_the_data_come_and_it_is_said_that_they_are_not_versioned(
    project, capsys, monkeypatch
):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    data.run(project, "digits", None)
    assert "It is not versioned" in capsys.readouterr().out
    assert (project / "data" / "digits.parquet").is_file()
    assert not (project / "data.dvc").exists()

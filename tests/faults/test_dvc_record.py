"""DVC writes `dvc.lock` in place: cut off by a kill, it is restored from a copy."""

import shutil
import subprocess

import pytest
import yaml
from sample_projects import ENVIRONMENT, call

from espalier.dvc_record import is_damaged, keep_record, restore_record
from espalier.tasks.dvc_locks import mend_record

GRAPH = {
    "stages": {
        "teacher": {"cmd": "mkdir -p models/teacher && echo 1 > models/teacher/weights", "outs": ["models/teacher"]},
        "student": {
            "cmd": "mkdir -p models/student && echo 2 > models/student/weights",
            "deps": ["models/teacher"],
            "outs": ["models/student"],
        },
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded") / "project"
    root.mkdir()
    call(root, "dvc", "init", "--no-scm", "--quiet")
    (root / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    call(root, "dvc", "repro", "--quiet")
    return root


@pytest.fixture
def project(recorded, tmp_path, monkeypatch):
    """A project in a stage that DVC runs, with a kept record."""
    root = tmp_path / "project"
    shutil.copytree(recorded, root, symlinks=True)
    monkeypatch.setenv("DVC_STAGE", "student")
    keep_record(root)
    return root


def test_a_record_that_is_cut_anywhere_is_damaged_or_names_each_hash(project):
    whole = (project / "dvc.lock").read_text()
    assert not is_damaged(project)
    for end in range(len(whole)):
        (project / "dvc.lock").write_text(whole[:end])
        if not is_damaged(project):
            stages = yaml.safe_load(whole[:end])["stages"].values()
            assert all(out["md5"] for stage in stages for out in stage.get("outs") or [])


@pytest.mark.parametrize("end", ["schema", "nfiles"])
def test_dvc_refuses_a_record_that_is_cut_off_and_takes_a_mended_one(project, end):
    whole = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(whole[: whole.index(end) + 4])
    command = ["dvc", "status"]
    refused = subprocess.run(
        command, cwd=project, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert refused.returncode != 0
    assert mend_record(project)
    assert (project / "dvc.lock").read_text() == whole
    assert "up to date" in call(project, *command)


def test_a_damaged_record_is_not_kept_and_without_a_copy_it_is_removed(project):
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    keep_record(project)
    restore_record(project)
    assert not is_damaged(project)
    shutil.rmtree(project / ".espalier")
    (project / "dvc.lock").write_text("")
    restore_record(project)
    assert not (project / "dvc.lock").exists()


@pytest.mark.parametrize(
    "file",
    [
        {"path": "http://host/a.csv", "checksum": '"abc"'},
        {"path": "s3://bucket/a.csv", "etag": "abc", "size": 3},
        {"path": "a.csv", "repo": {"url": "../other", "rev_lock": "1b5b079"}},
    ],
    ids=["http", "s3", "import"],
)
def test_a_record_with_files_of_other_places_is_whole(project, file):
    content = yaml.safe_load((project / "dvc.lock").read_text())
    content["stages"]["own"] = {"cmd": "true", "deps": [file]}
    (project / "dvc.lock").write_text(yaml.safe_dump(content))
    assert not is_damaged(project)
    assert not mend_record(project)
    assert yaml.safe_load((project / "dvc.lock").read_text()) == content

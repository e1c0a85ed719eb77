"""DVC writes `dvc.lock` in place: cut off by a kill, it is restored from a copy; a conflict of a merge is not."""

import shutil
import subprocess

import pytest
import yaml
from properties import assert_explains
from sample_projects import ENVIRONMENT, call

from espalier.commands import doctor, repair
from espalier.dvc_record import is_damaged, keep_record, restore_record
from espalier.errors import BadInput
from espalier.making.problems import find_problems
from espalier.tasks.dvc_locks import mend_record
from espalier.tasks.graph import read_graph

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


def contents(root):
    """The files beside the folders of DVC and models, and the kept ones."""
    paths = [*root.glob("*"), *(root / ".espalier" / "kept").glob("*")]
    return {path: path.read_text() for path in paths if path.is_file()}


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


CONFLICT = """\
<<<<<<< HEAD
    md5: 0123
=======
    md5: 4567
>>>>>>> other
"""
REST_OF_ONE = "=======\n"  # a user has joined the sides, and left this line


@pytest.mark.parametrize("mark", [CONFLICT, REST_OF_ONE], ids=["conflict", "rest of one"])
@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml", "data.dvc"])
def test_both_sides_of_a_merge_are_refused_and_stay(project, name, mark):
    path = project / name
    whole = path.read_text() if path.exists() else "outs:\n"
    path.write_text(whole + mark)
    (project / "params.yaml").write_text('teacher: {model: "espalier:mlp", epochs: 1}\n')
    kept = contents(project)
    (problem,) = find_problems(project)
    assert f"{path} to be merged" in problem
    for command in (read_graph, doctor.run, repair.run):
        with pytest.raises(BadInput) as refused:
            command(project)
        assert str(refused.value) == problem
    line = whole.count("\n") + 1
    assert_explains(refused.value, f"in line {line}", f"git checkout --ours {path}", "--theirs")
    assert contents(project) == kept


def test_a_conflict_is_not_mended_or_kept(project):
    (project / "dvc.lock").write_text((project / "dvc.lock").read_text() + CONFLICT)
    (project / "params.yaml").write_text('teacher: {model: "espalier:mlp", epochs: 1}\n')
    kept = contents(project)
    keep_record(project)
    with pytest.raises(BadInput, match=r"to be merged"):
        mend_record(project)
    with pytest.raises(BadInput, match=r"to be merged"):
        doctor.run(project, mend=True)
    assert contents(project) == kept


def test_a_dry_run_names_a_record_that_was_cut_off_and_leaves_it(project):
    whole = (project / "dvc.lock").read_text()
    cut = whole[: whole.index("nfiles") + 4]
    (project / "dvc.lock").write_text(cut)
    with pytest.raises(BadInput) as refused:
        read_graph(project, mend=False)
    assert_explains(refused.value, "dvc.lock to be complete", "`espalier run` restores it")
    assert (project / "dvc.lock").read_text() == cut
    said: list[str] = []
    read_graph(project, report=said.append)
    assert (project / "dvc.lock").read_text() == whole
    assert said == [
        "dvc.lock was cut off, as by a killed DVC: restored from its copy; "
        ".espalier/kept/dvc.lock.damaged is the former"
    ]
    assert (project / ".espalier" / "kept" / "dvc.lock.damaged").read_text() == cut

"""Damaged reports of a real project, restored from DVC's cache or made again and recorded."""

import shutil
from pathlib import Path

import pytest
import sample_projects
from selection import mostly_slow

from espalier import files
from espalier.commands import repair
from espalier.errors import BadInput
from espalier.records import verify_reports
from espalier.upkeep.dvc_cache import Cache, md5

PARAMS = """\
training: {batch_size: 64, threads: 1}
teacher: {model: "espalier:mlp", arguments: {hidden: [8]}, epochs: 1}
models: {}
evaluation: {rounds: 3}
"""
STAGES = {
    "teacher": {
        "cmd": "espalier make teacher",
        "deps": ["prepared"],
        "params": ["training", "teacher"],
        "outs": ["models/teacher"],
    },
    "evaluate": {
        "cmd": "espalier evaluate",
        "deps": ["prepared", "models"],
        "params": ["models", "evaluation"],
        "outs": ["reports"],
    },
}
NAMES = ["manifest.json", "models.csv", "predictions/teacher.parquet"]


@pytest.fixture(scope="module")
def judged(digits, tmp_path_factory):
    """A project with reports that DVC has recorded."""
    root = tmp_path_factory.mktemp("judged") / "project"
    return sample_projects.reproduce(root, digits, PARAMS, STAGES)


@pytest.fixture
def project(judged, tmp_path, monkeypatch):
    root = shutil.copytree(judged, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(root)
    for name, value in sample_projects.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return root


def bits(root: Path) -> dict[str, str]:
    found = sorted((root / "reports").rglob("*"))
    return {path.relative_to(root).as_posix(): md5(path) for path in found if path.is_file()}


def flip(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lose(root: Path, name: str) -> None:
    """Damage a file of the reports in the workspace and in DVC's cache."""
    flip(Cache(root / ".dvc" / "cache").path(md5(root / "reports" / name)))
    flip(root / "reports" / name)


def is_up_to_date(root: Path) -> bool:
    return "up to date" in sample_projects.call(root, "dvc", "status")


@pytest.mark.parametrize("removed", mostly_slow([False, True], False))
@pytest.mark.parametrize("name", NAMES)
def test_an_intact_copy_in_the_cache_replaces_damaged_reports(project, name, removed):
    before, path = bits(project), project / "reports" / name
    path.unlink() if removed else flip(path)
    repair.run(project)
    assert bits(project) == before
    assert is_up_to_date(project)


def test_reports_without_an_intact_copy_are_made_again_and_recorded(project, capfd):
    predictions = files.sha256(project / "reports" / "predictions" / "teacher.parquet")
    lose(project, "models.csv")
    with pytest.raises(BadInput, match=r"models\.csv"):
        verify_reports(project)
    repair.run(project)
    assert "made again and recorded" in capfd.readouterr().out
    assert verify_reports(project)
    assert files.sha256(project / "reports" / "predictions" / "teacher.parquet") == predictions
    assert is_up_to_date(project)
    assert Cache(project / ".dvc" / "cache").damaged() == []


def test_reports_that_cannot_be_made_again_are_named_and_stay(project):
    lose(project, "models.csv")
    before = bits(project)
    (project / "params.yaml").write_text(PARAMS.replace("rounds: 3", "rounds: 1"))
    with pytest.raises(BadInput, match=r"reports: .*repro"):
        repair.run(project)
    assert bits(project) == before


def test_damaged_reports_that_dvc_has_not_recorded_are_left_to_the_next_run(project, capfd):
    (project / "dvc.lock").unlink()
    flip(project / "reports" / "models.csv")
    repair.run(project)
    assert "not recorded: `espalier run` makes them again" in capfd.readouterr().out
    assert not (project / "reports").exists()


def test_reports_of_an_earlier_version_are_whole_and_not_made_again(project, capfd):
    """DVC takes them for up to date, as `dvc repro` after the update does."""
    (project / "reports" / "manifest.json").unlink()
    path = project / "reports" / "conditions.json"
    conditions = files.read_json(path)
    del conditions["espalier"]
    files.write_json(path, conditions)
    sample_projects.call(project, "dvc", "commit", "--force", "--quiet", "evaluate")
    before = bits(project)
    repair.run(project)
    assert "0 were mended" in capfd.readouterr().out
    assert "up to date" in sample_projects.call(project, "dvc", "repro")
    assert bits(project) == before

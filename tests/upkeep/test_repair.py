"""Damage in DVC's cache and in the workspace of a real project, and its repair."""

import shutil
import subprocess
import sys

import pytest
import sample_projects
from selection import mostly_slow

from espalier import files
from espalier.commands import register, repair
from espalier.errors import BadInput
from espalier.upkeep.dvc_cache import Cache, md5
from espalier.upkeep.recorded import read_outputs

PARAMS = """\
training: {batch_size: 64, threads: 1, views: 3}
teacher: {model: "espalier:resnet", arguments: {depth: 8, width: 8}, epochs: 1}
models:
  student: {from: teacher, by: distill, model: "espalier:resnet", arguments: {depth: 8, width: 4}, epochs: 1}
"""
STAGES = {
    "teacher": {
        "cmd": "espalier make teacher",
        "deps": ["prepared"],
        "params": ["training", "teacher"],
        "outs": ["models/teacher"],
    },
    "model": {
        "foreach": "${models}",
        "do": {
            "cmd": "espalier make ${key}",
            "deps": ["prepared", "models/${item.from}"],
            "params": ["training", "models.${key}"],
            "outs": ["models/${key}"],
        },
    },
}


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A project of two trained models in git and DVC."""
    root = tmp_path_factory.mktemp("made") / "project"
    return sample_projects.reproduce(root, digits, PARAMS, STAGES)


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    root = shutil.copytree(trained, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(root)
    return root


def cache_of(root):
    return Cache(root / ".dvc" / "cache")


def bits(root):
    found = sorted((root / "models").glob("*/*"))
    return {path: path.read_bytes() for path in found}


def flip(path):
    """Flip a bit of a file, as a disk does, whatever its permissions."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    path.chmod(0o444)


def is_up_to_date(root):
    return "up to date" in sample_projects.call(root, "dvc", "status")


def run(root, *words):
    command = [sys.executable, "-m", "espalier", *words]
    return subprocess.run(
        command,
        cwd=root,
        env=sample_projects.ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


DAMAGE = [
    (place, name)
    for place in ("cache", "workspace", "cache of other files")
    for name in ("weights.safetensors", "lineage.json", ".dir")
]


@pytest.mark.parametrize(
    "place_and_name", mostly_slow(DAMAGE, DAMAGE[0], DAMAGE[4], DAMAGE[8]), ids="-".join
)
def test_an_intact_copy_replaces_a_damaged_one(project, place_and_name):
    place, name = place_and_name
    before, cache = bits(project), cache_of(project)
    output = next(one for one in read_outputs(project) if one.path == "models/student")
    listing = cache.listing(output.md5)
    damaged = output.md5 if name == ".dir" else listing[name]
    if place == "cache":
        flip(cache.path(damaged))
    elif place == "workspace":
        flip(project / "models" / "student" / ("manifest.json" if name == ".dir" else name))
    else:
        flip(cache.path(listing["model.onnx"]))
        flip(project / "models" / "teacher" / "model.onnx")
    repair.run(project)
    assert bits(project) == before
    assert cache.damaged() == []
    assert is_up_to_date(project)
    shutil.rmtree(project / "models")
    sample_projects.call(project, "dvc", "checkout")
    assert bits(project) == before


def test_a_model_without_an_intact_copy_is_made_again_with_the_same_bits(project, capfd):
    before, cache = bits(project), cache_of(project)
    weights = project / "models" / "student" / "weights.safetensors"
    flip(cache.path(md5(weights)))
    flip(weights)
    with pytest.raises(BadInput, match="espalier repair"):
        files.verify(weights.parent)
    done = run(project, "repair")
    assert (done.returncode, done.stderr) == (0, "")
    assert "models/student: made again with the same bits" in done.stdout
    assert bits(project) == before
    assert cache.damaged() == []
    assert is_up_to_date(project)


def test_remote_storage_is_asked_before_a_model_is_made_again(project, tmp_path, capfd):
    sample_projects.call(project, "dvc", "remote", "add", "--default", "far", str(tmp_path / "far"))
    sample_projects.call(project, "dvc", "push")
    before = bits(project)
    for name in ("weights.safetensors", "lineage.json"):
        path = project / "models" / "student" / name
        flip(cache_of(project).path(md5(path)))
        flip(path)
    repair.run(project)
    assert "making it again" not in capfd.readouterr().out
    assert bits(project) == before
    assert is_up_to_date(project)


@pytest.mark.slow
def test_records_of_a_model_that_are_lost_for_ever_are_said(project, capfd):
    lineage = project / "models" / "student" / "lineage.json"
    flip(cache_of(project).path(md5(lineage)))
    flip(lineage)
    weights = (lineage.parent / "weights.safetensors").read_bytes()
    done = run(project, "repair")
    assert done.returncode == 0, done.stderr
    assert "models/student: made again; its records are new" in done.stdout
    files.verify(lineage.parent)
    assert (lineage.parent / "weights.safetensors").read_bytes() == weights
    sample_projects.call(project, "dvc", "repro")
    assert is_up_to_date(project)
    assert cache_of(project).damaged() == []


def test_lost_data_are_named_and_never_made_up(project):
    output = next(one for one in read_outputs(project) if one.path == "prepared")
    cache = cache_of(project)
    (name, *_) = cache.listing(output.md5).values()
    flip(cache.path(name))
    shutil.rmtree(project / "prepared")
    with pytest.raises(
        BadInput, match=r"an intact copy of prepared in the cache, on remote storage"
    ):
        repair.run(project)


def test_a_whole_project_stays_as_it_is(project, capfd):
    before = {path: path.stat().st_mtime_ns for path in (project / "models").rglob("*")}
    repair.run(project)
    assert "outputs are whole; 0 were mended" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (project / "models").rglob("*")} == before


def test_missing_outputs_come_back_from_the_cache(project, capfd):
    before = bits(project)
    shutil.rmtree(project / "models")
    shutil.rmtree(project / "prepared")
    repair.run(project)
    assert bits(project) == before
    assert "3 outputs are whole; 3 were mended" in capfd.readouterr().out
    assert is_up_to_date(project)


def test_a_missing_model_that_is_nowhere_is_named_and_not_made(project, capfd):
    weights = project / "models" / "student" / "weights.safetensors"
    cache_of(project).drop(md5(weights))
    shutil.rmtree(weights.parent)
    repair.run(project)
    said = capfd.readouterr().out
    assert "models/student: missing, and not in DVC's cache: `dvc pull` brings" in said
    assert "2 outputs are whole; 0 were mended" in said
    assert not weights.parent.exists()


def test_the_model_of_a_former_entry_stays_away(project):
    (project / "params.yaml").write_text(PARAMS.replace("student:", "renamed:"))
    shutil.rmtree(project / "models" / "student")
    repair.run(project)
    assert not (project / "models" / "student").exists()
    with pytest.raises(
        BadInput, match=r"models/renamed .* found no folder: `espalier run` makes it"
    ):
        register.run(project)


def test_a_project_without_dvc_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"to be a project of DVC"):
        repair.run(tmp_path)

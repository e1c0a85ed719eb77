"""`espalier init`: a folder becomes a project that runs, from what the installed package holds."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from properties import assert_explains
from selection import mostly_slow

from espalier.commands import data, import_network, init, make, prepare
from espalier.data.prepared import read_dataset
from espalier.errors import BadInput
from espalier.making.problems import find_problems
from espalier.params import read_params
from espalier.settings.recipes import RECIPES


def call(folder, *command):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def photos(folder):
    """Photo-like images of mixed sizes in two classes."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for name, colour in (("cats", 60), ("dogs", 190)):
        for number in range(24):
            side = (int(random.integers(40, 90)), int(random.integers(40, 90)), 3)
            noise = random.integers(-40, 40, side) + colour
            path = folder / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(path)


@pytest.mark.parametrize("recipe", mostly_slow(RECIPES, "digits", "import", "table"))
def test_a_recipe_gives_a_project_that_dvc_and_git_know(tmp_path, recipe):
    folder = tmp_path / "my photos"
    init.run(folder, recipe)
    params = read_params(folder)
    assert params.registry.name == ("digits" if recipe == "digits" else "my-photos")
    assert (folder / ".git").is_dir()
    assert (folder / ".dvc").is_dir()
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    assert set(stages) == {"prepare", "teacher", "model", "evaluate", "register"}
    listed = call(folder, sys.executable, "-m", "dvc", "stage", "list", "--name-only", "--all")
    for name in params.models:
        assert f"model@{name}" in listed


def test_the_repository_is_such_a_project(project_root):
    templates = init.TEMPLATES
    for name, template in init._FILES.items():
        assert (project_root / name).read_text() == (templates / template).read_text(), name
    digits = templates / "recipes" / "digits.yaml"
    assert (project_root / "params.yaml").read_text() == digits.read_text()


def test_digits_are_there_and_prepared_as_in_the_repository(tmp_path, digits):
    init.run(tmp_path, "digits")
    prepare.run(tmp_path)
    assert read_dataset(tmp_path / "prepared").files == read_dataset(digits).files
    assert "data.dvc" in {path.name for path in tmp_path.iterdir()}


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_photos_need_no_file_to_be_touched(tmp_path):
    photos(tmp_path / "photos")
    root = tmp_path / "project"
    init.run(root, "folder")
    data.run(root, str(tmp_path / "photos"), None)
    prepare.run(root)
    dataset = read_dataset(root / "prepared")
    assert (dataset.classes, dataset.shape) == (("cats", "dogs"), (3, 48, 48))
    call(root, sys.executable, "-m", "dvc", "status")


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_network_of_the_user_is_imported_by_the_recipe(tmp_path, monkeypatch, capsys):
    photos(tmp_path / "photos")
    root = tmp_path / "project"
    init.run(root, "import")
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("\ndata:\n", "\ndata:\n  images: {size: 16}\n"))
    data.run(root, str(tmp_path / "photos"), None)
    prepare.run(root)
    said = capsys.readouterr().out
    assert "espalier data path/to/images, espalier prepare, then espalier import" in said
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.delitem(sys.modules, "networks", raising=False)
    import networks

    torch.save(
        networks.network(classes=2, shape=(3, 16, 16)).state_dict(),
        root / "weights" / "network.pth",
    )
    import_network.run(root, None, None, None, None, None)
    assert "Accuracy on validation" in capsys.readouterr().out
    make.run(root, "teacher")  # which checks that DVC knows the file
    monkeypatch.delitem(sys.modules, "networks")


@pytest.mark.parametrize(
    "teacher",
    [
        {"by": "import", "model": "torchvision:resnet18", "weights": "DEFAULT"},
        {"model": "espalier:mlp", "epochs": 1},
    ],
    ids=["published weights", "no weights"],
)
def test_dvc_reads_a_project_of_the_recipe_import_with_another_teacher(tmp_path, teacher):
    root = tmp_path / "project"
    init.run(root, "import")
    params = yaml.safe_load((root / "params.yaml").read_text()) | {"teacher": teacher}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    stages = call(root, sys.executable, "-m", "dvc", "stage", "list", "--all")
    assert "teacher" in stages
    assert find_problems(root) == []


@pytest.mark.parametrize("name", ["2026", "null", "on", "1e3", "a: b"])
@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe != "digits"])
def test_any_name_of_a_folder_gives_a_valid_project(tmp_path, monkeypatch, recipe, name):
    monkeypatch.setattr(init, "_start", lambda *_: None)  # git and DVC, which read no name
    monkeypatch.setattr(init, "_start_dvc", lambda *_: None)
    init.run(tmp_path / name, recipe)
    assert read_params(tmp_path / name).registry.name == init._name(tmp_path / name)


def test_data_that_are_there_are_never_replaced_by_the_digits(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("precious")
    with pytest.raises(
        BadInput, match="data not to exist yet, because the recipe digits writes it"
    ):
        init.run(tmp_path, "digits")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / "mine.txt").read_text() == "precious"


def test_present_files_are_never_overwritten(tmp_path):
    (tmp_path / ".gitignore").write_text("/secret\n/models/\n")
    init.run(tmp_path, "folder")
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["/secret", "/models/"]
    assert lines.count("/models/") == 1
    assert "/prepared/" in lines
    before = {
        path: path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    with pytest.raises(BadInput) as refusal:
        init.run(tmp_path, "digits")
    assert_explains(refusal.value, str(tmp_path), "params.yaml", "dvc.yaml")
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_inside_a_repository_gets_no_second_one(tmp_path):
    call(tmp_path, "git", "init", "--quiet")
    init.run(tmp_path / "inside", "folder")
    assert not (tmp_path / "inside" / ".git").exists()
    assert (tmp_path / "inside" / ".dvc").is_dir()


def test_outside_a_project_the_way_to_one_is_said(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "espalier", "show"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "espalier init DIR" in done.stderr


@pytest.mark.slow
def test_an_experiment_of_dvc_leaves_valid_parameters(tmp_path):
    init.run(tmp_path, "digits")
    call(tmp_path, "git", "add", "--all")
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    call(tmp_path, "git", *identity, "commit", "--quiet", "--message", "a project")
    before = read_params(tmp_path)
    experiment = (sys.executable, "-m", "dvc", "exp", "run", "--set-param", "seed=1")
    call(tmp_path, *experiment, "--queue")
    assert read_params(tmp_path) == before
    call(tmp_path, *experiment, "prepare")
    assert read_params(tmp_path) == before.model_copy(update={"seed": 1})
    assert read_dataset(tmp_path / "prepared").seed == 1


@pytest.fixture(scope="module")
def wheel_names(project_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--quiet", "--wheel-dir", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(project_root)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


@pytest.mark.slow
def test_the_wheel_holds_what_is_needed(project_root, wheel_names):
    wanted = [
        path.relative_to(project_root)
        for path in init.TEMPLATES.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    assert {path.as_posix() for path in wanted} <= set(wheel_names)
    assert sum(Path(name).parts[:2] == ("espalier", "embedded") for name in wheel_names) == 4


@pytest.mark.slow
def test_the_wheel_installs_one_top_level_package(wheel_names):
    top = {Path(name).parts[0] for name in wheel_names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"espalier"}
    assert {"espalier/flows/compress.py", "espalier/tasks/reproduce.py"} <= set(wheel_names)


def test_a_place_that_cannot_become_a_project_is_refused_before_anything_is_written(
    tmp_path, monkeypatch
):
    """Repeated after git is installed, the same command goes through."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput) as error:
        init.run(tmp_path / "file", "table")
    assert_explains(error.value, "a folder", "a file")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        with pytest.raises(BadInput) as error:
            init.run(tmp_path / "new", "table")
    assert_explains(error.value, "git", "no such command")
    assert not (tmp_path / "new").exists()

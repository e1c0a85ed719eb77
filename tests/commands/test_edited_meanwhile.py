"""A stage whose files or code the user edits while it runs publishes nothing, and starts from them the next time."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput, TryAgain
from espalier.making import siblings
from espalier.models import load

NETWORKS = """\
from espalier.models import build
from own_layers import WIDTH


def net(*, classes, shape):
    return build("espalier:mlp", classes=classes, shape=shape, arguments={"hidden": [WIDTH]})
"""
METHODS = """\
import numpy as np


def first(network, groups, losses):
    return np.arange(groups.count, dtype=float)


def error(student, teacher, *, weights=None):
    return (student - teacher).abs().mean()
"""
OWN = {
    "own_networks.py": NETWORKS,
    "own_layers.py": "WIDTH = 8\n",
    "own_methods/__init__.py": "",
    "own_methods/all.py": METHODS,
    "own_unused.py": "",
}
NETWORK = {"model": "own_networks:net"}
MODELS = {
    "taken": {"from": "teacher", "by": "import", **NETWORK, "weights": "weights.pt", "epochs": 1},
    "cut": {
        "from": "teacher",
        "by": "prune",
        "keep_macs": 0.6,
        "align": 1,
        "score": "own_methods.all:first",
        "finetune": {"epochs": 1},
    },
    "taught": {
        "from": "teacher",
        "by": "distill",
        **NETWORK,
        "epochs": 1,
        "losses": [{"loss": "own_methods.all:error"}],
    },
}
EDITS = [
    ("teacher", "own_networks.py", "code"),
    ("teacher", "own_layers.py", "code"),
    ("taken", "weights.pt", "files"),
    ("taken", "own_networks.py", "code"),
    ("cut", "own_methods/all.py", "code"),
    ("cut", "own_layers.py", "code"),
    ("taught", "own_methods/all.py", "code"),
    ("taught", "own_networks.py", "code"),
]


@pytest.fixture
def project(tiny, tmp_path, monkeypatch):
    """A project whose networks and methods are of modules of its own."""
    root = tmp_path / "project"
    (root / "prepared").parent.mkdir()
    (root / "prepared").symlink_to(tiny / "prepared")
    for name, text in OWN.items():
        files.write(root / name, text)
    content = {
        "trusted": ["own_networks", "own_methods", "own_unused"],
        "training": {"threads": 1},
        "teacher": {**NETWORK, "epochs": 1},
        "models": MODELS,
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.syspath_prepend(str(root))
    yield root
    for name in list(sys.modules):
        if name.partition(".")[0].startswith("own_"):
            del sys.modules[name]


def make_parents(root: Path, name: str) -> None:
    if name != "teacher":
        make.run(root, "teacher")
        torch.save(
            load(root / "models/teacher", trusted=["own_networks"]).state_dict(),
            root / "weights.pt",
        )


def edit_after_training(monkeypatch, edit: Callable[[], object]) -> None:
    """Edit something between the training of the next model and its publication."""
    make_siblings = siblings.make

    def make_and_edit(job):
        result = make_siblings(job)
        monkeypatch.setattr(siblings, "make", make_siblings)
        edit()
        return result

    monkeypatch.setattr(siblings, "make", make_and_edit)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
@pytest.mark.parametrize(("name", "file", "key"), EDITS, ids=lambda word: Path(word).stem)
def test_a_file_or_code_that_was_edited_meanwhile_is_named_and_nothing_is_published(
    project, monkeypatch, name, file, key
):
    make_parents(project, name)
    path = project / file
    addition = b"\n# another\n" if path.suffix == ".py" else b"another"
    edit_after_training(monkeypatch, lambda: path.write_bytes(path.read_bytes() + addition))
    package = file if key == "files" else Path(file).parts[0].removesuffix(".py")
    with pytest.raises(
        TryAgain, match=rf"inputs of {name} to stay .*found other `{key}` \({package}\)"
    ):
        make.run(project, name)
    assert not (project / "models" / name).exists()
    make.run(project, name)
    lineage = files.read_json(project / "models" / name / "lineage.json")
    assert lineage[key][package] == files.sha256(path) or path.parent != project


@pytest.mark.parametrize("file", ["own_unused.py", "notes.txt"])
def test_files_that_the_model_is_not_made_from_may_be_edited(project, monkeypatch, file):
    edit_after_training(monkeypatch, lambda: (project / file).write_text("# another\n"))
    make.run(project, "teacher")
    assert (project / "models" / "teacher").exists()


@pytest.mark.parametrize(
    ("name", "file", "error"),
    [("taken", "weights.pt", BadInput), ("teacher", "own_layers.py", TryAgain)],
)
def test_a_file_that_was_removed_meanwhile_is_noticed(project, monkeypatch, name, file, error):
    make_parents(project, name)
    edit_after_training(monkeypatch, (project / file).unlink)
    with pytest.raises(error, match=f"{name}"):
        make.run(project, name)
    assert not (project / "models" / name).exists()


def test_a_module_that_an_own_one_imports_is_part_of_the_inputs(project):
    make.run(project, "teacher")
    lineage = files.read_json(project / "models" / "teacher" / "lineage.json")
    assert lineage["code"] == {
        name: files.sha256(project / f"{name}.py") for name in ("own_layers", "own_networks")
    }

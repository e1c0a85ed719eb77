"""The test split is opened by evaluation alone: every kind of entry is made in a project that has none to look at."""

import shutil
from pathlib import Path

import pytest
import yaml
from cases import OPERATIONS
from selection import mostly_slow

from espalier import files
from espalier.commands import evaluate, make
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.operations import OPERATIONS as KINDS
from espalier.params import read_params

pytestmark = pytest.mark.filterwarnings(
    "ignore::espalier.errors.Notice"
)  # that so tiny networks miss their targets


@pytest.fixture(scope="module")
def blind(digits, tmp_path_factory) -> Path:
    """A project with a teacher, an entry of each kind, and neither the test split nor the data that it came from."""
    root = tmp_path_factory.mktemp("blind")
    shutil.copytree(digits, root / "prepared")
    (root / "prepared" / "test.safetensors").unlink()
    content = {
        "trusted": ["user_package"],
        "training": {"batch_size": 64, "threads": 1, "views": 2, "learning_rate": 0.02},
        "teacher": {"model": "user_package:everything", "epochs": 1},
        "models": {
            operation.name: {**operation.keys, "from": "teacher"} for operation in OPERATIONS
        },
        "evaluation": {"rounds": 3},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    make.run(root, "teacher")
    return root


def test_there_is_an_entry_of_every_kind():
    assert {operation.keys["by"] for operation in OPERATIONS} == set(KINDS)


NAMES = [operation.name for operation in OPERATIONS]


@pytest.mark.parametrize("name", mostly_slow(NAMES, "distill", "prune-channels", "share"))
def test_an_entry_is_made_without_the_test_split(blind, name):
    make.run(blind, name)
    assert files.verify(blind / "models" / name)


def test_evaluation_does_not_do_without_it(blind, tmp_path):
    root = tmp_path / "teacher"
    shutil.copytree(blind, root, ignore=shutil.ignore_patterns("locks", "work"))
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(params | {"models": {}}))
    with pytest.raises(BadInput, match=r"test.safetensors to have the SHA-256 .* found no file"):
        evaluate.run(root)
    assert not (root / "reports").exists()


def test_a_job_cannot_open_the_test_split(blind):
    with pytest.raises(BadInput, match=r"from the train and validation splits; found test"):
        Job.of(blind, "teacher", read_params(blind)).data.open("test")

"""Several seeds of one entry: the median sibling is the model, and all of them are in its figures."""

import statistics

import pytest
import torch

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput
from espalier.models import load
from espalier.params import read_params

PARAMS = """\
seed: %d
data: {seed: 0, split: exact}
training: {batch_size: 64, threads: 1, views: 3}
teacher: {model: "espalier:mlp", arguments: {hidden: [8]}, epochs: 2%s}
"""


@pytest.fixture
def project(tmp_path, digits):
    (tmp_path / "prepared").symlink_to(digits)

    def write(seed=0, more=""):
        files.write(tmp_path / "params.yaml", PARAMS % (seed, more))
        return tmp_path

    return write


def metrics(root):
    return files.read_json(root / "models" / "teacher" / "metrics.json")


def test_the_median_of_three_seeds_is_kept_with_mean_and_deviation(project, capsys):
    alone = {}
    for seed in range(3):
        root = project(seed)
        make.run(root, "teacher")
        alone[seed] = metrics(root)["validation_accuracy"], load(root / "models" / "teacher")
    assert "seeds" not in metrics(root)
    root = project(0, ", seeds: 3")
    make.run(root, "teacher")
    scores = [score for score, _ in alone.values()]
    median = statistics.median(scores)
    seed = next(seed for seed, (score, _) in alone.items() if score == median)
    found = metrics(root)
    assert found["validation_accuracy"] == median
    assert found["seeds"] == 3
    assert found["seeds_mean"] == pytest.approx(statistics.mean(scores), abs=1e-6)
    assert found["seeds_std"] == pytest.approx(statistics.stdev(scores), abs=1e-6)
    kept = load(root / "models" / "teacher").state_dict()
    assert all(
        torch.equal(kept[name], value) for name, value in alone[seed][1].state_dict().items()
    )
    assert f"Of 3 seeds: {100 * statistics.mean(scores):.2f} %" in capsys.readouterr().out
    assert not list((root / ".espalier" / "checkpoints").glob("*"))


def test_one_seed_is_the_same_model_as_no_key(project):
    root = project()
    make.run(root, "teacher")
    key = files.read_json(root / "models" / "teacher" / "lineage.json")["key"]
    root = project(0, ", seeds: 1")
    make.run(root, "teacher")
    assert files.read_json(root / "models" / "teacher" / "lineage.json")["key"] == key


def test_no_seed_is_refused(project):
    with pytest.raises(BadInput, match=r"teacher\.seeds"):
        read_params(project(0, ", seeds: 0"))

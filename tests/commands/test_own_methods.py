"""Scores and losses of a trusted package of the user, named in params.yaml."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from properties import assert_explains

from espalier import files
from espalier.commands import make
from espalier.errors import BadInput
from espalier.models import load
from espalier.pruning import prune
from espalier.pruning.scores import SCORES, Score

CUT = {
    "from": "teacher",
    "by": "prune",
    "keep_macs": 0.6,
    "align": 1,
    "budget": "uniform",
    "finetune": {"epochs": 0},
}
NETWORK = {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 4}, "epochs": 1}
TAUGHT = {"from": "teacher", "by": "distill", **NETWORK}
OWN_LOSS = {"loss": "user_package:absolute_error", "settings": {"factor": 2.0}}


@pytest.fixture
def project(tiny, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(tiny, root, ignore=shutil.ignore_patterns("locks", "work", "checkpoints"))
    return root


def declare(root, trusted=("user_package",), **models):
    content = yaml.safe_load((root / "params.yaml").read_text())
    content |= {"trusted": list(trusted), "models": models}
    (root / "params.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_an_own_score_decides_what_goes(project):
    declare(project, cut=CUT | {"score": "user_package:first_channels"})
    make.run(project, "cut")
    kept = files.read_json(project / "models" / "cut" / "cut.json")
    outputs = [layer for layer in kept.values() if isinstance(layer, dict)] or [kept]
    assert outputs
    teacher, cut = (load(project / "models" / name) for name in ("teacher", "cut"))
    assert torch.equal(cut.conv.weight[-1], teacher.conv.weight[-1])  # the last ones stay
    assert not torch.equal(cut.conv.weight[0], teacher.conv.weight[0])
    assert "user_package" in files.read_json(project / "models" / "cut" / "lineage.json")["code"]


def test_an_own_loss_teaches(project):
    declare(
        project,
        own=TAUGHT | {"losses": [OWN_LOSS]},
        plain=TAUGHT | {"losses": [{"loss": "labels"}]},
    )
    for name in ("own", "plain"):
        make.run(project, name)
    own, plain = (load(project / "models" / name).state_dict() for name in ("own", "plain"))
    assert not all(torch.equal(own[name], plain[name]) for name in own)


@pytest.mark.parametrize(
    "entry", [CUT | {"score": "user_package:first_channels"}, TAUGHT | {"losses": [OWN_LOSS]}]
)
def test_the_code_of_a_package_that_is_not_trusted_is_not_run(project, entry):
    declare(project, trusted=(), own=entry)
    with pytest.raises(BadInput) as refusal:
        make.run(project, "own")
    assert_explains(refusal.value, "models.own", "user_package", "trusted")


@pytest.mark.parametrize(
    "entry",
    [
        CUT | {"score": "user_package:nothing"},
        TAUGHT | {"losses": [{"loss": "user_package:nothing"}]},
    ],
)
def test_a_function_that_is_not_there_is_refused_by_name(project, entry):
    declare(project, own=entry)
    with pytest.raises(BadInput) as refusal:
        make.run(project, "own")
    assert_explains(refusal.value, "user_package:nothing", "importable")


def test_a_score_can_be_added_to_the_table(monkeypatch):
    def last_first(network, groups, losses):
        return -np.arange(groups.count, dtype=float)

    monkeypatch.setitem(SCORES, "last_first", Score("last_first", own=last_first))
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    smaller = prune(network, torch.randn(2, 4), keep_macs=0.5, score="last_first", align=1)
    assert torch.equal(smaller[0].weight, network[0].weight[: len(smaller[0].weight)])


@pytest.mark.parametrize("given", ["balanced", [1.0] * 9 + [5.0]])
def test_the_teacher_takes_class_weights(project, given):
    declare(project)
    content = yaml.safe_load((project / "params.yaml").read_text())
    content["teacher"] |= {"class_weights": given, "epochs": 1}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    before = load(project / "models" / "teacher").state_dict()
    make.run(project, "teacher")
    after = load(project / "models" / "teacher").state_dict()
    assert not all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"model": "user_package:answers", "arguments": {"width": 1000}}, ["(2, 10)", "(2, 1000)"]),
        ({"model": "user_package:answers", "arguments": {"width": 9}}, ["(2, 10)", "(2, 9)"]),
        ({"model": "user_package:answers", "arguments": {"form": "flat"}}, ["(2, 10)", "(2,)"]),
        ({"model": "user_package:failing"}, ["(2, 1, 8, 8)", "mat1 and mat2"]),
        ({"model": "user_package:uneven"}, ["torch can export"]),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("by", ["train", "distill"])
def test_an_own_network_is_checked_before_it_is_trained(project, monkeypatch, network, words, by):
    monkeypatch.setattr("espalier.making.job.Job.fit", None)  # nothing is trained
    declare(project, own={"from": "teacher", "by": by, "epochs": 1, **network})
    with pytest.raises(BadInput) as refusal:
        make.run(project, "own")
    assert_explains(refusal.value, *words)


def test_a_sound_own_network_is_trained_and_its_check_leaves_nothing(project):
    declare(
        project,
        own={"from": "teacher", "by": "train", "epochs": 1, "model": "user_package:answers"},
    )
    make.run(project, "own")
    assert not list((project / ".espalier").rglob("export.*"))

"""A second task, which no module of the library knows, trains, is pruned and is deployed.

It predicts how dark an image is: a number, with a score that falls linearly with the error.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from espalier.data.prepared import Split, read_dataset, read_split
from espalier.distillation.objectives import from_labels
from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.inputs.image import ImageAugmentations
from espalier.prediction import TASKS, Headline, task_named
from espalier.pruning import prune
from espalier.runtimes import DEFAULT
from espalier.seeds import seed_all
from espalier.training.batches import Resident
from espalier.training.device import ProcessGroup
from espalier.training.engine import fit
from espalier.training.history import columns
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

CPU = torch.device("cpu")


class Darkness:
    name = "darkness"
    headline = Headline("closeness", "of 1", 1)
    output = "darkness"

    def width(self, classes):
        return 1

    def readout(self):
        return None

    def loss(self, outputs, targets, *, smoothing=0.0, reduction="mean"):
        return F.mse_loss(outputs[:, 0], targets, reduction=reduction)

    def score(self, outputs, targets):
        return 1 - (outputs[:, 0] - targets).abs().clamp(max=1)

    def answers(self, outputs):
        return outputs[:, 0]

    def strata(self, targets):
        return (targets * 4).astype(int)


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setitem(TASKS, "darkness", Darkness)
    return task_named("darkness")


def with_darkness(split):
    return Split(split.inputs, split.inputs.float().mean((1, 2, 3)) / 128)


@pytest.fixture
def trained(task, digits):
    front = read_dataset(digits).front()
    splits = {name: with_darkness(read_split(digits, name)) for name in ("train", "validation")}
    train, validation = (Resident(split, CPU) for split in splits.values())
    seed_all(0, "weights")
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, task.width(()))
    )
    history = fit(
        network,
        train,
        Inference(validation, front, task=task),
        from_labels(task=task),
        Recipe(epochs=6, batch_size=32, threads=1, learning_rate=0.01, precision="float32"),
        augmentations=ImageAugmentations(len(train), 0, False, 0, 1),
        front=front,
        processes=ProcessGroup(0, 1, CPU),
    )
    return network, history, splits["validation"], front


def test_the_history_names_its_score_and_the_score_grows(task, trained):
    _, history, _, _ = trained
    assert tuple(history[0]) == columns(task.headline)
    assert history[-1]["closeness"] > max(0.95, history[0]["closeness"])


def test_the_deployed_file_gets_the_same_score_and_pruning_needs_no_classes(
    task, trained, tmp_path
):
    network, history, validation, front = trained
    export(network, tmp_path / "model.onnx", validation.inputs[:8], front)
    outputs = torch.from_numpy(
        DEFAULT.open(tmp_path / "model.onnx").outputs(validation.inputs.numpy())
    )
    score = task.score(outputs, validation.targets).mean().item()
    assert score == pytest.approx(history[-1]["closeness"], abs=1e-4)
    smaller = prune(network, front(validation.inputs[:2]), keep_macs=0.5, align=1)
    assert smaller(front(validation.inputs[:2])).shape == (2, 1)


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match=r"classification, .*; found 'darkness'"):
        task_named("darkness")

"""Networks with several answers: a task for each head."""

import pytest
import torch
from properties import assert_explains
from torch import nn
from torch.nn import functional as F

from espalier.distillation.bank import Bank
from espalier.distillation.heads import OfColumns, TeacherColumns, from_heads, soft_targets_of
from espalier.distillation.losses import soft_targets, soft_values
from espalier.distillation.objectives import from_labels, from_logits
from espalier.errors import BadInput
from espalier.inputs.image import ImageAugmentations
from espalier.prediction import CLASSIFICATION, Heads
from espalier.training.batches import Batch, Resident
from espalier.training.device import ProcessGroup
from espalier.training.engine import fit
from espalier.training.heads import heads_of
from espalier.training.loss_inputs import LossInputs
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

CPU = torch.device("cpu")
RECIPE = Recipe(
    epochs=6, batch_size=32, threads=1, precision="float32", augment=False, learning_rate=0.05
)


class TwoTasks(nn.Module):
    """Ten classes, and which half of them it is."""

    def __init__(self, width, *, named):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU())
        self.digit, self.part, self.named = nn.Linear(width, 10), nn.Linear(width, 2), named

    def forward(self, x):
        x = self.body(x)
        answers = {"digit": self.digit(x), "half": self.part(x)}
        return answers if self.named else tuple(answers.values())


@pytest.fixture(scope="module")
def split(digits):
    from espalier.data.prepared import Split, read_split

    train = read_split(digits, "train")
    return Split(train.inputs, torch.stack([train.targets, train.targets // 5], 1))


def front(images):
    return images.float() / 127 - 1


def train(network, split, objective):
    examples = Resident(split, CPU)
    inference = Inference(examples, front)
    views = ImageAugmentations(len(examples), 0, False, 0, 1)
    history = fit(
        network,
        examples,
        inference,
        objective,
        RECIPE,
        augmentations=views,
        front=front,
        processes=ProcessGroup(0, 1, CPU),
    )
    return history, inference


def accuracy(inference, network, head):
    logits, labels = inference.outputs(network, head=head)
    return (logits.argmax(1) == labels).float().mean().item()


@pytest.mark.parametrize("named", [True, False], ids=["by name", "in a sequence"])
def test_each_head_learns_its_task_from_its_labels_and_the_first_is_validated(split, named):
    torch.manual_seed(0)
    network = TwoTasks(32, named=named)
    one, other = ("digit", "half") if named else ("0", "1")
    history, inference = train(
        network, split, from_heads({one: (1.0, from_labels()), other: (0.5, from_labels())})
    )
    assert accuracy(inference, network, 0) == pytest.approx(history[-1]["accuracy"])
    assert accuracy(inference, network, 0) > 0.8
    assert accuracy(inference, network, 1) > 0.8


def test_each_head_is_taught_by_that_of_the_teacher(split, tmp_path):
    """The student has no labels at all."""
    torch.manual_seed(0)
    teacher, student = TwoTasks(32, named=True), TwoTasks(16, named=False)
    both = {"digit": (1.0, from_labels()), "half": (1.0, from_labels())}
    _, inference = train(teacher, split, from_heads(both))
    banks = [
        Bank(tmp_path / str(head), lambda view, head=head: inference.outputs(teacher, head=head)[0])
        for head in (0, 1)
    ]
    soft = {
        str(head): (1.0, from_logits(soft_targets, [banks[head]], temperature=2.0))
        for head in (0, 1)
    }
    train(student, split, from_heads(soft))
    for head in (0, 1):
        same = inference.outputs(student, head=head)[0].argmax(1) == inference.outputs(
            teacher, head=head
        )[0].argmax(1)
        assert same.float().mean() > 0.8


def test_the_loss_is_the_weighted_sum_over_the_heads():
    heads = {"a": torch.randn(3, 10), "b": torch.randn(3, 4)}
    labels = torch.tensor([[1, 0], [9, 3], [4, 2]])
    batch = Batch(torch.arange(3), torch.zeros(3, 1, 8, 8, dtype=torch.uint8), labels)
    seen = LossInputs(heads["a"], batch.inputs.float(), batch, view=0, progress=0.0, heads=heads)
    objective = from_heads({"a": (1.0, from_labels()), "b": (3.0, from_labels())})
    expected = F.cross_entropy(heads["a"], labels[:, 0]) + 3 * F.cross_entropy(
        heads["b"], labels[:, 1]
    )
    torch.testing.assert_close(objective(seen), expected)
    with pytest.raises(BadInput) as caught:
        from_heads({"c": (1.0, from_labels())})(seen)
    assert_explains(caught.value, "a, b", "'c'")


def test_the_parameters_of_an_objective_of_a_head_are_trained():
    learning = nn.Linear(2, 2)
    assert len(list(from_heads({"0": (1.0, learning)}).parameters())) == 2


def test_one_answer_is_one_head():
    logits = torch.randn(2, 3, dtype=torch.bfloat16)
    assert [(name, value.dtype) for name, value in heads_of(logits).items()] == [
        ("0", torch.float32)
    ]
    assert list(heads_of([logits, logits])) == ["0", "1"]


COLUMNS = Heads([
    {"name": "digit", "task": "classification", "classes": tuple("0123456789"), "weight": 2.0},
    {"name": "ink", "task": "regression", "classes": ("ink",), "weight": 0.5},
])  # fmt: skip


def drawn_columns():
    """Outputs (30, 11) of a student and a teacher, and targets (30, 2)."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 30, 11)
    return student, teacher, torch.stack([torch.arange(30.0) % 10, torch.randn(30)], 1)


class Outputs:
    def __init__(self, outputs):
        self.outputs = outputs

    def view(self, number):
        return self.outputs * (1 + number)


def test_a_head_of_columns_is_taught_as_the_task_alone():
    student, teacher, targets = drawn_columns()
    index = torch.arange(30)
    seen = LossInputs(student, student, Batch(index, student, targets), 1, 0.0)
    own = LossInputs(student[:, :10], student, Batch(index, student, targets[:, 0].long()), 1, 0.0)
    digit = COLUMNS.heads[0]
    labels = OfColumns(digit, from_labels(0.1, task=digit.task))
    assert torch.equal(labels(seen), from_labels(0.1)(own))
    settings = {"temperature": 3.0, "class_weights": torch.arange(1.0, 11)}
    bank = TeacherColumns(Outputs(teacher), digit)
    taught = OfColumns(digit, from_logits(soft_targets, [bank], **settings))
    alone = from_logits(soft_targets, [Outputs(teacher[:, :10])], **settings)
    assert torch.equal(taught(seen), alone(own))
    inked = seen.batch.targets.clone()
    inked[:, 1] += 5
    other = LossInputs(student, student, Batch(index, student, inked), 1, 0.0)
    assert torch.equal(labels(other), labels(seen))


def test_soft_targets_of_several_heads_are_their_weighted_sum():
    student, teacher, _ = drawn_columns()
    found = soft_targets_of(COLUMNS, 3.0)(student, teacher)
    digit = soft_targets(student[:, :10], teacher[:, :10], temperature=3.0)
    ink = soft_values(student[:, 10:], teacher[:, 10:])
    assert found.item() == pytest.approx((2 * digit + ink / 2).item())
    alone = soft_targets_of(CLASSIFICATION, 3.0)(student[:, :10], teacher[:, :10])
    assert torch.equal(alone, digit)
    assert soft_targets_of(COLUMNS, 3.0)(teacher, teacher).item() == pytest.approx(0, abs=1e-5)

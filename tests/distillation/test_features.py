"""Losses between layers of two networks: taps, pairs, adapters, copies."""

import copy
import gc

import pytest
import torch
from properties import assert_equal_outputs, assert_explains
from torch import nn

from espalier.distillation.features import FeatureTerm, FromFeatures, Tap, default_pairs, layers
from espalier.distillation.losses import attention, hints, similarity
from espalier.distillation.settings import Ramp
from espalier.errors import BadInput
from espalier.models import build
from espalier.pruning import prune
from espalier.seeds import seed_all
from espalier.training.batches import Batch
from espalier.training.loss_inputs import LossInputs

SHAPE = (1, 8, 8)
IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
BATCH = Batch(
    torch.arange(4), torch.zeros(4, *SHAPE, dtype=torch.uint8), torch.tensor([1, 2, 3, 4])
)
PAIRS = {"stages.1": "stages.1", "stages": "stages"}


def network(width, seed=0, factory="espalier:resnet"):
    seed_all(seed, "weights")
    return build(factory, classes=10, shape=SHAPE, arguments={"depth": 8, "width": width})


def see(student, progress=0.0):
    return LossInputs(student(IMAGES), IMAGES, BATCH, view=0, progress=progress)


def hooks(module):
    return sum(len(part._forward_hooks) for part in module.modules())


@pytest.fixture
def both():
    return network(4), network(8, seed=1)


def test_a_tap_holds_what_layers_put_out_once(both):
    student, _ = both
    tap = Tap(student, ["stages.0", "stages"])
    answer = student(IMAGES)
    taken = tap.pop()
    assert list(taken) == ["stages.0", "stages"]
    torch.testing.assert_close(student.head(taken["stages"].mean((2, 3))), answer)
    with pytest.raises(BadInput) as caught:
        tap.pop()
    assert_explains(caught.value, "'stages.0'", "did not run")


def test_a_layer_that_there_is_not_or_that_puts_out_no_tensor_is_refused(both):
    with pytest.raises(BadInput) as caught:
        Tap(both[0], ["stage"])
    assert_explains(caught.value, "'stage'")
    attending = nn.MultiheadAttention(4, 1, batch_first=True)
    tap = Tap(nn.ModuleDict({"attending": attending}), ["attending"])
    attending(*[torch.zeros(2, 3, 4)] * 3)
    with pytest.raises(BadInput) as caught:
        tap.pop()
    assert_explains(caught.value, "'attending'", "tuple")


def test_a_tap_that_is_closed_or_collected_removes_its_hooks(both):
    student, _ = both
    tap = Tap(student, ["stages.0"])
    assert hooks(student) == 1
    tap.close()
    tap.close()
    assert hooks(student) == 0
    tap = Tap(student, ["stages.0"])
    clone = copy.deepcopy(student)
    del tap
    gc.collect()
    assert hooks(student) == 0
    assert_equal_outputs(clone, student, IMAGES)  # the copied hook finds no tap


def test_a_copy_that_runs_is_seen_as_the_network(both):
    """So that a loss can score a copy that is about to be pruned, and a running average can be validated."""
    student, _ = both
    tap = Tap(student, ["stages.0"])
    clone = copy.deepcopy(student)
    clone(IMAGES)
    assert tap.pop()["stages.0"].requires_grad
    student(IMAGES)
    clone.eval()
    with torch.no_grad():
        clone(IMAGES[:1])
    student(IMAGES)
    assert len(tap.pop()["stages.0"]) == 4


def test_the_loss_is_the_weighted_sum_over_pairs_with_the_teacher_in_evaluation_mode(both):
    student, teacher = both
    terms = [
        FeatureTerm(attention, PAIRS, 2.0),
        FeatureTerm(similarity, {"stages.0": "stages"}, Ramp(1, 3)),
    ]
    objective = FromFeatures(student, teacher.train(), terms, IMAGES)
    assert not teacher.training
    assert student.training
    found = objective(see(student, progress=0.5))
    ours, theirs = {}, {}
    for module, kept in ((student, ours), (teacher, theirs)):
        tap = Tap(module, ["stages.0", "stages.1", "stages"])
        module(IMAGES)
        kept |= tap.pop()
    expected = 2 * sum(attention(ours[name], theirs[name]) for name in PAIRS)
    expected = expected + 2 * similarity(ours["stages.0"], theirs["stages"])
    torch.testing.assert_close(found, expected)


def test_gradients_reach_the_student_and_the_adapters_and_not_the_teacher(both):
    student, teacher = both
    objective = FromFeatures(student, teacher, [FeatureTerm(hints, PAIRS, adapted=True)], IMAGES)
    assert [tuple(value.shape) for value in objective.parameters()] == [
        (16, 8, 1, 1),
        (16,),
        (32, 16, 1, 1),
        (32,),
    ]
    objective(see(student)).backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())
    assert student.stages[0][0].conv1.weight.grad.abs().max() > 0
    assert student.head.weight.grad.abs().max() == 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_adapters_learn_what_the_student_cannot_be(both):
    """A student that is the teacher behind a mixing of its channels is as good as the teacher."""
    student, _ = both
    teacher = copy.deepcopy(student).eval()
    mixing = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(3)))[0]
    teacher.stages.register_forward_hook(
        lambda module, given, output: torch.einsum("nchw,cd->ndhw", output, mixing)
    )
    objective = FromFeatures(
        student.eval(), teacher, [FeatureTerm(hints, {"stages": "stages"}, adapted=True)], IMAGES
    )
    optimizer = torch.optim.LBFGS(
        objective.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def step():
        optimizer.zero_grad()
        loss = objective(see(student))
        loss.backward()
        return loss

    before = step().item()
    optimizer.step(step)
    assert step().item() < 1e-3 * before


def test_networks_of_two_families_are_paired_without_a_name():
    student, teacher = network(4), build("espalier:lenet5", classes=10, shape=(1, 28, 28))
    images = torch.randn(2, 1, 28, 28)
    pairs = default_pairs(layers(student, images), layers(teacher, images))
    objective = FromFeatures(student, teacher, [FeatureTerm(hints, pairs, adapted=True)], images)
    loss = objective(LossInputs(student(images), images, BATCH, view=0, progress=0.0))
    loss.backward()
    assert loss.isfinite()


def test_a_network_is_pruned_by_what_a_loss_over_its_layers_says(both):
    student, teacher = both
    objective = FromFeatures(student, teacher, [FeatureTerm(attention, PAIRS)], IMAGES)

    def losses(network):
        yield objective(see(network)) + nn.functional.cross_entropy(network(IMAGES), BATCH.targets)

    smaller = prune(student, IMAGES[:2], keep_macs=0.6, align=1, score="taylor", losses=losses)
    assert smaller(IMAGES).shape == (4, 10)
    again = FromFeatures(smaller, teacher, [FeatureTerm(hints, PAIRS, adapted=True)], IMAGES)
    assert again(see(smaller)).isfinite()

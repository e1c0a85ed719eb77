"""Parameters of an objective are trained together with the network: here the adapters of losses between layers."""

import gc

import pytest
import torch
from properties import assert_equal_weights
from torch import nn

from espalier.distillation.features import FeatureTerm, FromFeatures
from espalier.distillation.losses import hints
from espalier.distillation.objectives import WeightedSum, from_labels
from espalier.seeds import seed_all

PAIRS = {"stages.1": "stages.1", "stages": "stages"}


def taught(setting):
    """A student, and what it is to learn from a teacher with untrained weights."""
    student, teacher = (
        setting.built("espalier:resnet", depth=8, width=4),
        setting.built("espalier:resnet", depth=8),
    )
    seed_all(0, "adapters")
    inside = FromFeatures(
        student, teacher, [FeatureTerm(hints, PAIRS, adapted=True)], torch.zeros(2, 1, 8, 8)
    )
    return student, inside, WeightedSum([(1.0, from_labels()), (1.0, inside)])


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}], ids=["plain", "average"])
def test_a_student_is_trained_with_its_adapters_and_left_without_hooks(setting, changes):
    student, inside, objective = taught(setting)
    before = [value.clone() for value in inside.parameters()]
    history = setting.train(student, objective=objective, **changes)
    assert history[-1]["loss"] < history[0]["loss"]
    assert not any(
        torch.equal(one, other) for one, other in zip(inside.parameters(), before, strict=True)
    )
    del inside, objective
    gc.collect()
    assert not any(module._forward_hooks for module in student.modules())


def test_adapters_go_on_from_a_checkpoint_with_the_same_bits(setting, tmp_path):
    class Killed(BaseException):
        """Stands for a SIGKILL."""

    class Killing(nn.Module):
        def __init__(self, inner, step):
            super().__init__()
            self.inner, self.left = inner, step

        def forward(self, seen):
            self.left -= 1
            if not self.left:
                raise Killed
            return self.inner(seen)

    def run(step=0, **more):
        student, inside, objective = taught(setting)
        setting.train(student, objective=Killing(objective, step), **more)
        return student, inside.adapters

    expected = run()
    with pytest.raises(Killed):
        run(13, checkpoints=tmp_path)
    for one, other in zip(expected, run(checkpoints=tmp_path), strict=True):
        assert_equal_weights(one, other)

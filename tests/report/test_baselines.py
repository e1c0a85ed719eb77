from types import SimpleNamespace

import numpy as np
import pytest
import torch

from espalier.judging import Question
from espalier.params import check
from espalier.prediction import CLASSIFICATION
from espalier.report.baselines import beside_baselines

PARAMS = check(
    {
        "teacher": {"model": "espalier:mlp"},
        "models": {
            "half": {"from": "teacher", "by": "prune", "keep_macs": 0.5},
            "fresh": {"from": "half", "by": "baseline"},
        },
    }
)


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [((0, 20), "beats"), ((20, 0), "is beaten by"), ((10, 10), "is as good as")],
)
def test_a_cut_is_compared_with_its_shape_from_nothing_on_the_same_examples(wrong, verdict):
    targets = np.arange(100) % 10
    classes = tuple("0123456789")
    dataset = SimpleNamespace(classes=classes, concepts=lambda given: given)
    outputs = {}
    for name, count in zip(("half", "fresh"), wrong, strict=True):
        answers = np.where(np.arange(100) < count, (targets + 1) % 10, targets)
        outputs[name] = np.eye(10, dtype=np.float32)[answers]
    every = Question.of(None, dataset, torch.from_numpy(targets))
    (line,) = beside_baselines(PARAMS, outputs, dict.fromkeys(outputs, every), CLASSIFICATION)
    assert line.startswith(f"half {verdict} fresh, its shape with new weights: ")
    assert f"{wrong[1] - wrong[0]:+.1f} points" in line

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from espalier.prediction import CLASSIFICATION, NO_ANSWER, TASKS

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 0.4], [1.0, 0.0, 3.0]])
LABELS = torch.tensor([0, 2, 2])


def test_the_score_is_one_where_the_label_has_the_largest_logit():
    assert CLASSIFICATION.score(LOGITS, LABELS).tolist() == [1.0, 0.0, 1.0]


def test_the_mean_loss_is_the_mean_of_the_losses():
    each = CLASSIFICATION.loss(LOGITS, LABELS, smoothing=0.1, reduction="none")
    assert each.shape == (3,)
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    assert CLASSIFICATION.loss(LOGITS, LABELS, smoothing=0.1) == expected
    assert each.mean() == pytest.approx(expected.item())


def test_logits_that_are_not_finite_are_no_answer():
    logits = np.array([[1.0, 2.0], [np.nan, 1.0], [np.inf, 0.0]])
    assert CLASSIFICATION.answers(logits).tolist() == [1, NO_ANSWER, NO_ANSWER]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_headline_is_read_in_its_unit(task):
    assert task.headline.text(0.98334).startswith("98.33 %")

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from espalier.distillation.bank import Bank
from espalier.distillation.losses import soft_targets
from espalier.distillation.objectives import from_labels, from_teacher
from espalier.training.batches import Batch
from espalier.training.engine import Seen

ANSWERS = {view: torch.randn(20, 10, generator=torch.Generator().manual_seed(view)).half().float() for view in (0, 1)}
BATCH = Batch(torch.tensor([3, 17, 0]), torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([1, 9, 4]))
LOGITS = torch.randn(3, 10, generator=torch.Generator().manual_seed(9))
SEEN = Seen(LOGITS, BATCH.images.float(), BATCH, view=0, progress=0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_alone_are_a_cross_entropy(smoothing):
    expected = F.cross_entropy(LOGITS, BATCH.labels, label_smoothing=smoothing)
    assert from_labels(smoothing)(SEEN) == expected


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("weight", [0.0, 0.9, 1.0])
def test_the_teacher_is_weighed_against_the_labels_by_its_answer_to_these_examples_in_this_view(tmp_path, view, weight):
    bank = Bank(tmp_path, ANSWERS.__getitem__)
    found = from_teacher(bank, temperature=4.0, weight=weight, smoothing=0.1)(replace(SEEN, view=view))
    soft = soft_targets(LOGITS, ANSWERS[view][[3, 17, 0]], temperature=4.0)
    hard = F.cross_entropy(LOGITS, BATCH.labels, label_smoothing=0.1)
    torch.testing.assert_close(found, weight * soft + (1 - weight) * hard)

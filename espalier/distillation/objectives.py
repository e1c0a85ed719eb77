"""What training minimises: the labels, or the labels and the teacher."""

from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.bank import Bank
from espalier.distillation.losses import soft_targets
from espalier.training.engine import Objective, Seen


def from_labels(smoothing: float = 0.0) -> Objective:
    """Cross-entropy with the labels."""

    def objective(seen: Seen) -> Tensor:
        return F.cross_entropy(seen.logits, seen.batch.labels, label_smoothing=smoothing)

    return objective


def from_teacher(bank: Bank, *, temperature: float, weight: float, smoothing: float = 0.0) -> Objective:
    """Soft targets times `weight` and cross-entropy with the labels times the rest (Hinton et al. 2015).

    The teacher's answer is the one to the very view that the student sees.
    """

    def objective(seen: Seen) -> Tensor:
        teacher = bank.view(seen.view)[seen.batch.index].to(seen.logits.device)
        soft = soft_targets(seen.logits, teacher, temperature=temperature)
        hard = F.cross_entropy(seen.logits, seen.batch.labels, label_smoothing=smoothing)
        return weight * soft + (1 - weight) * hard

    return objective

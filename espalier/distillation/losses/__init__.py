"""Each loss is a pure function of the student's and the teacher's logits (N, classes), averaged over examples."""

from espalier.distillation.losses.soft_targets import soft_targets

__all__ = ["soft_targets"]

"""Each loss is a pure function of what the student and the teacher computed, averaged over examples.

Those of `LOGITS` take logits (N, classes) of both and weights (N,) of the examples; those of `FEATURES` what a layer of
each put out, mostly as maps (N, C, H, W).
"""

from collections.abc import Callable

from torch import Tensor

from espalier.distillation.losses.attention import attention
from espalier.distillation.losses.decoupled import decoupled
from espalier.distillation.losses.dist import dist
from espalier.distillation.losses.hints import hints
from espalier.distillation.losses.relational import relational
from espalier.distillation.losses.similarity import similarity
from espalier.distillation.losses.soft_targets import soft_targets
from espalier.distillation.losses.squared_error import squared_error
from espalier.distillation.losses.standardised import standardised
from espalier.distillation.losses.teacher_labels import teacher_labels

LOGITS: dict[str, Callable[..., Tensor]] = {
    "soft_targets": soft_targets,
    "teacher_labels": teacher_labels,
    "squared_error": squared_error,
    "standardised": standardised,
    "decoupled": decoupled,
    "dist": dist,
}
FEATURES: dict[str, Callable[..., Tensor]] = {
    "hints": hints,
    "attention": attention,
    "similarity": similarity,
    "relational": relational,
}

__all__ = [
    "FEATURES",
    "LOGITS",
    "attention",
    "decoupled",
    "dist",
    "hints",
    "relational",
    "similarity",
    "soft_targets",
    "squared_error",
    "standardised",
    "teacher_labels",
]

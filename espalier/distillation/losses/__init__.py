"""Distillation losses: pure functions of values of the student and the teacher, averaged over examples.

Losses in `LOGITS` take logits (N, classes) of both, and weights (N,) of the examples; `OUTPUTS` has
such losses for every task. Losses in `FEATURES` take the outputs of a layer of each, mostly maps
(N, C, H, W).
"""

from collections.abc import Callable

from torch import Tensor

from espalier.distillation.losses.attention import attention
from espalier.distillation.losses.decoupled import decoupled
from espalier.distillation.losses.dist import dist
from espalier.distillation.losses.hints import hints
from espalier.distillation.losses.other_tasks import bernoulli_soft_targets, soft_values
from espalier.distillation.losses.relational import relational
from espalier.distillation.losses.reverse import reverse
from espalier.distillation.losses.review import review
from espalier.distillation.losses.similarity import similarity
from espalier.distillation.losses.soft_targets import soft_targets
from espalier.distillation.losses.squared_error import squared_error
from espalier.distillation.losses.standardised import standardised
from espalier.distillation.losses.teacher_labels import teacher_labels

LOGITS: dict[str, Callable[..., Tensor]] = {
    "soft_targets": soft_targets,
    "reverse": reverse,
    "teacher_labels": teacher_labels,
    "squared_error": squared_error,
    "standardised": standardised,
    "decoupled": decoupled,
    "dist": dist,
}
OUTPUTS: dict[str, dict[str, Callable[..., Tensor]]] = {  # by task
    "classification": LOGITS,
    "multilabel": {"soft_targets": bernoulli_soft_targets, "squared_error": squared_error},
    "regression": {"soft_targets": soft_values, "squared_error": squared_error},
}
FEATURES: dict[str, Callable[..., Tensor]] = {
    "hints": hints,
    "review": review,
    "attention": attention,
    "similarity": similarity,
    "relational": relational,
}

__all__ = [
    "FEATURES",
    "LOGITS",
    "OUTPUTS",
    "attention",
    "bernoulli_soft_targets",
    "decoupled",
    "dist",
    "hints",
    "relational",
    "reverse",
    "review",
    "similarity",
    "soft_targets",
    "soft_values",
    "squared_error",
    "standardised",
    "teacher_labels",
]

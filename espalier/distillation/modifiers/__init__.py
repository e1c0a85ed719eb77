"""Modifiers of losses: weights of classes, examples and teachers. Pure functions."""

from espalier.distillation.modifiers.balanced import balanced
from espalier.distillation.modifiers.confidence import confidence
from espalier.distillation.modifiers.focal import focal
from espalier.distillation.modifiers.subset import subset

__all__ = ["balanced", "confidence", "focal", "subset"]

"""Feature distillation: losses between layers of a student and of its teacher."""

from espalier.distillation.features.fusion import Fusion
from espalier.distillation.features.layers import Layer, has_positions, layers
from espalier.distillation.features.objective import FeatureTerm, FromFeatures, OwnFront
from espalier.distillation.features.pairs import default_pairs, ends
from espalier.distillation.features.tap import Tap

__all__ = [
    "FeatureTerm",
    "FromFeatures",
    "Fusion",
    "Layer",
    "OwnFront",
    "Tap",
    "default_pairs",
    "ends",
    "has_positions",
    "layers",
]

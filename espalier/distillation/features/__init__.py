"""What layers inside a student and its teacher put out, and losses between them."""

from espalier.distillation.features.layers import Layer, layers
from espalier.distillation.features.objective import FeatureTerm, FromFeatures
from espalier.distillation.features.pairs import default_pairs, ends
from espalier.distillation.features.tap import Tap

__all__ = ["FeatureTerm", "FromFeatures", "Layer", "Tap", "default_pairs", "ends", "layers"]

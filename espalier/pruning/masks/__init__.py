"""Masks: the single weights that stay. Each function maps scores to truth values."""

from espalier.pruning.masks.by_sensitivity import by_sensitivity
from espalier.pruning.masks.lowest import best_of_layers, lowest
from espalier.pruning.masks.n_of_m import n_of_m

__all__ = ["best_of_layers", "by_sensitivity", "lowest", "n_of_m"]

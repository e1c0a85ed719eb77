"""Trained networks from elsewhere: their weights, read without running code, in a network of a factory."""

from espalier.models.trained.fitting import fit_weights
from espalier.models.trained.published import (
    published_preprocessing,
    published_weights,
)
from espalier.models.trained.reading import Weights, read_weights

__all__ = [
    "Weights",
    "fit_weights",
    "published_preprocessing",
    "published_weights",
    "read_weights",
]

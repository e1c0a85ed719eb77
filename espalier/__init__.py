"""Espalier: distil, prune, quantize and judge neural networks so that they fit the device there is."""

__version__ = "0.1.0"

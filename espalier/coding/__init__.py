"""Coding: codebooks of weights, and one packed file from which the same weights are read back."""

"""Factorization: layers replaced by two smaller ones whose product approximates the weight."""

from espalier.factorization.factorize import factorize

__all__ = ["factorize"]

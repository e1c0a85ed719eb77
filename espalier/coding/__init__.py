"""Coding: weights that share few numbers, and one packed file from which the same weights are read back."""

from espalier.coding.packed import pack, unpack
from espalier.coding.share import Bits, share

__all__ = ["Bits", "pack", "share", "unpack"]

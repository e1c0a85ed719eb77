"""Coding: weights of few different values, and a packed file that holds them without loss."""

from espalier.coding.packed import pack, unpack
from espalier.coding.share import Bits, share

__all__ = ["Bits", "pack", "share", "unpack"]

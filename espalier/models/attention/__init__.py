"""Attention whose heads can be pruned: modules that take the place of torch's and torchvision's."""

from espalier.models.attention.heads import (
    attention_heads,
    declared_heads,
    make_attention_prunable,
    set_attention_heads,
    with_prunable_attention,
)
from espalier.models.attention.prunable import Attention

__all__ = [
    "Attention",
    "attention_heads",
    "declared_heads",
    "make_attention_prunable",
    "set_attention_heads",
    "with_prunable_attention",
]

"""Notices of pruning."""

import warnings

from espalier.errors import Notice


def warn(text: str) -> None:
    """Give a notice at the line that called for the pruning."""
    warnings.warn(text, Notice, stacklevel=6)

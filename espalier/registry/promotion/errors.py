"""Errors of a promotion that leave the alias where it is."""

from espalier.errors import EspalierError


class RefusedError(EspalierError):
    """No candidate passes the gates."""


class ConcurrentMoveError(EspalierError):
    """Another move of the same alias was first."""

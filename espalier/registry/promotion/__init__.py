"""Promotion: gated moves of an alias, their audit, rollback, and copies into other registered models.

The functions that judge models import torch. They are imported when they are first used, so that
listing an audit, and a promotion that has nothing to judge, cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from espalier.registry.promotion.audit import Audit, Move, State, user
from espalier.registry.promotion.audit_file import AuditFile, read_moves
from espalier.registry.promotion.audit_sync import (
    check_audit,
    moved_past_audit,
    note_moves,
    sync_audit,
)
from espalier.registry.promotion.entry import promote
from espalier.registry.promotion.errors import ConcurrentMoveError, RefusedError
from espalier.registry.promotion.reversal import rollback
from espalier.registry.promotion.unchanged import Unchanged, find_unchanged
from espalier.registry.promotion.webhook import send_failure

if TYPE_CHECKING:
    from espalier.registry.promotion.transfer import promote_elsewhere

__all__ = [
    "Audit",
    "AuditFile",
    "ConcurrentMoveError",
    "Move",
    "RefusedError",
    "State",
    "Unchanged",
    "check_audit",
    "find_unchanged",
    "moved_past_audit",
    "note_moves",
    "promote",
    "promote_elsewhere",
    "read_moves",
    "rollback",
    "send_failure",
    "sync_audit",
    "user",
]

_LAZY = {"promote_elsewhere": "transfer"}  # module of each function


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)

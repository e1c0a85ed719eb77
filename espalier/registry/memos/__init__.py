"""Memos: what a check has found, for as long as nothing that it has read has changed."""

from espalier.registry.memos.memo import State, holds, read_memo, take_state

__all__ = ["State", "holds", "read_memo", "take_state"]

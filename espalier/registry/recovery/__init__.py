"""Recovery: audit and aliases in a new store, by the files of the project; backups of a local store."""

from espalier.registry.recovery.backup import back_up, unpack
from espalier.registry.recovery.restore import Restored, lines_lacking, restore_audit

__all__ = ["Restored", "back_up", "lines_lacking", "restore_audit", "unpack"]

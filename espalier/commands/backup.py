"""`espalier backup`: the registry of the project in one archive."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from espalier.params import read_params
from espalier.registry.connection import find_store
from espalier.registry.promotion import AuditFile
from espalier.registry.recovery import back_up

BACKUPS = "backups"


def run(root: Path, file: Path | None = None) -> Path:
    """Write a backup of the project's own store.

    Args:
        root: The project.
        file: The archive, relative to the current folder; by default `backups/NAME-DATE-TIME.tar` in the project.

    Returns:
        The archive.

    Raises:
        BadInput: If the store is a server, or the archive exists or cannot be written there.
        EspalierError: If there is no database.
    """
    store, name = find_store(root), read_params(root).registry.name
    if file is None:
        stem = AuditFile.of(store, name).path.name.removesuffix(".jsonl")
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        file = root / BACKUPS / f"{stem}-{moment}.tar"
    number = back_up(store, file.absolute())
    sys.stdout.write(f"{file}: {number} files. `espalier restore {file}` restores them.\n")
    return file

"""`espalier restore`: the registry from a backup, or the audit in the store from its file."""

import sys
from pathlib import Path

from espalier.commands.register import print_restored
from espalier.errors import BadInput
from espalier.params import read_params
from espalier.registry.connection import check_name, connect, find_store
from espalier.registry.promotion import AuditFile
from espalier.registry.recovery import restore_audit, unpack
from espalier.registry.versions import open_registry


def run(
    root: Path, file: Path | None = None, within: str | None = None, at: str | None = None
) -> None:
    """Restore the project's store from a backup or, without one, the audit in a store from its file.

    Args:
        root: The project.
        file: The backup, relative to the current folder.
        within: Name of the registered model whose audit is written again; the project's by default.
        at: Address of its store, in the form of `MLFLOW_TRACKING_URI`; the project's store by default.

    Raises:
        BadInput: If the backup is damaged, the store has a database already, or the file of the audit was
            altered.
    """
    if file is None:
        _write_audit(root, within, at)
        return
    if within or at:
        raise BadInput("Expected a backup without --in and --at; found both.")
    number = unpack(find_store(root), file.absolute())
    sys.stdout.write(
        f"{number} files restored. `espalier register` adds the models and moves that came after the "
        "backup.\n"
    )


def _write_audit(root: Path, within: str | None, at: str | None) -> None:
    store = find_store(root, at)
    name = read_params(root).registry.name if within is None else check_name(within)
    file = AuditFile.of(store, name)
    if store.is_missing and not file.path.exists():
        raise BadInput(
            f"Expected the moves of {name} in {file.shown}, since there is no database {store.shown}; found no "
            "such file: check the name and the address, or run `espalier register`."
        )
    with connect(store) as client:
        restored = restore_audit(open_registry(client, store, name), anew=True)
    print_restored(name, restored)
    if not restored.lines:
        sys.stdout.write(f"{name}.audit: there are no moves in its file\n")

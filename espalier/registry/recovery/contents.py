"""Model folders at hand, by the hash of their content: in `models/`, and among the files of a former store."""

from collections.abc import Iterator
from pathlib import Path

from espalier import files
from espalier.errors import BadInput
from espalier.paths import CONTENT, LINEAGE, MANIFEST, MODELS, content_files
from espalier.registry.connection import Store
from espalier.registry.connection.store import DATABASE
from espalier.registry.versions import Model

_LOGGED = "*/models/*/artifacts"  # MLflow's folders of the files of versions


def find_model(store: Store, content: str, entry: str = "") -> Model | None:
    """A model with a content, from a folder whose files have the hashes of its manifest; None without one.

    Args:
        store: The store; the folders of its project are searched.
        content: The content hash.
        entry: Name of the model in `params.yaml`; by default the name in its lineage.
    """
    for folder in _folders(store):
        try:
            if _content_of(folder) == content:
                return _read(folder, entry)
        except (BadInput, OSError):
            continue
    return None


def _folders(store: Store) -> Iterator[Path]:
    """Folders that may hold a model: those of the project first."""
    yield from _subfolders(store.root / MODELS, "*")
    databases = {store.home / DATABASE, store.database or store.home / DATABASE}
    for database in sorted(databases):
        yield from _subfolders(database.parent / "artifacts", _LOGGED)


def _subfolders(folder: Path, pattern: str) -> list[Path]:
    return [path.parent for path in sorted(folder.glob(f"{pattern}/{MANIFEST}"))]


def _content_of(folder: Path) -> str:
    """The content hash of a folder, by its manifest."""
    entries = files.read_manifest(folder)
    return files.digest({name: entries[name]["sha256"] for name in content_files(entries)})


def _read(folder: Path, entry: str) -> Model:
    """The model in a folder, after a check of all its files."""
    hashes = files.verify(folder, required=CONTENT)
    lineage = files.read_json_object(folder / LINEAGE) if LINEAGE in hashes else {}
    recipe = lineage.get("entry")
    by = recipe.get("by", "") if isinstance(recipe, dict) else ""
    parent = lineage.get("parent")
    return Model(
        entry=entry or str(lineage.get("name", "restored")),
        folder=folder,
        hashes=hashes,
        parent=parent if isinstance(parent, str) else None,
        by=str(by),
    )

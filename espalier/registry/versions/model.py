"""A model folder in the view of the registry: its content, its lineage, and the tags and parameters from them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espalier import files
from espalier.errors import BadInput
from espalier.params import Params
from espalier.paths import ARCHITECTURE, CLASS_NAMES, CONTENT, LINEAGE, content_files, made_model
from espalier.records import LineageRecord, read_record

# some stores refuse tags above 5000 characters; MLflow refuses parameters above 6000
_VALUE_LIMIT = 5000
_FORBIDDEN = re.compile(r"[^\w\-. /]")  # characters that MLflow refuses in the name of a parameter


@dataclass(frozen=True)
class Model:
    """A sealed model folder whose files were checked against its manifest.

    Attributes:
        entry: Name of the model in `params.yaml`.
        folder: Path of the folder.
        hashes: SHA-256 of each file, by name.
        parent: The entry from which the model was made; None for the teacher.
        by: The operation that made the model.
        more: Further tags, such as the origin of a copy; the tags of the model have priority.
    """

    entry: str
    folder: Path
    hashes: dict[str, str]
    parent: str | None
    by: str
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The content hash: one digest over the hashes of architecture, weights and deployed file.

        Two folders with the same content are the same model, whenever and wherever they were made:
        history, metrics and lineage do not count. Equal to `espalier.models.content_hash`, without
        torch and without reading the files again.
        """
        return files.digest({name: self.hashes[name] for name in content_files(self.hashes)})

    def sizes(self) -> dict[str, int]:
        """Sizes in bytes of the files that the content hash covers, by the manifest."""
        entries = files.read_manifest(self.folder)
        return {name: int(entries[name]["bytes"]) for name in content_files(entries)}

    def path(self, name: str) -> Path | None:
        """The path of a file that the manifest lists; None if it does not list it."""
        return self.folder / name if name in self.hashes else None

    def lineage(self) -> dict[str, Any]:
        """The content of `lineage.json`; empty if the file is missing."""
        if LINEAGE not in self.hashes:
            return {}
        return read_record(self.folder / LINEAGE, LineageRecord)

    def parameters(self) -> dict[str, str]:
        """Parameters of the run: the keys of the entry by their own names, the rest of the lineage under `lineage.`.

        Nested keys are joined by dots: `{"entry": {"finetune": {"epochs": 3}}}` becomes
        `{"finetune.epochs": "3"}`.
        """
        lineage = self.lineage()
        entry = lineage.pop("entry", {})
        flat = _flat(lineage, "lineage.") | _flat(entry, "")
        return {_FORBIDDEN.sub("_", name): value[:_VALUE_LIMIT] for name, value in flat.items()}

    def time_span(self) -> tuple[float, float] | None:
        """Start and end of the operation that made the model, in seconds since 1970; None without a record."""
        lineage = self.lineage()
        ended = lineage.get("finished")
        if ended is None:
            return None
        seconds = float(lineage.get("seconds", 0.0))
        return float(ended) - seconds, float(ended)

    def tags(self) -> dict[str, str]:
        """Tags of the run and of the version.

        Entry and content are the key by which both are found again.
        """
        data = self.lineage().get("data")
        tags = {
            "espalier.entry": self.entry,
            "espalier.content": self.content,
            "espalier.by": self.by,
            "espalier.parent": self.parent or "",
            "espalier.data": data if isinstance(data, str) else "",
            "espalier.classes": self._classes(),
        }
        given = {name: value for name, value in tags.items() if value}
        return {**self.more, **given}

    def _classes(self) -> str:
        """Names of the outputs as JSON; empty if the folder has none, or they are too long for a tag."""
        if CLASS_NAMES in self.hashes:
            names = files.read_json_object(self.folder / CLASS_NAMES).get("classes") or []
        else:
            names = self._concepts()
        written = json.dumps(names, ensure_ascii=False) if names else ""
        return written if len(written) <= _VALUE_LIMIT else ""

    def _concepts(self) -> list[str]:
        """Names of the outputs of a model that does not answer all classes of the data."""
        path = self.folder / ARCHITECTURE
        concepts = files.read_json_object(path).get("concepts") or {}
        if not isinstance(concepts, dict):
            raise BadInput(f"Expected a mapping as `concepts` of {path}; found {concepts!r:.80}.")
        return list(concepts)


def read_model(root: Path, params: Params, entry: str) -> Model:
    """Read and check the folder of an entry.

    Raises:
        BadInput: If the folder is missing or not sealed, or a file is missing or damaged; the message names
            the file.
    """
    folder = made_model(root, entry)
    hashes = files.verify(folder, required=CONTENT)
    declared = params.entry(entry)
    parent = getattr(declared, "parent", None)
    return Model(entry, folder, hashes, parent, declared.by)


def _flat(value: dict[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(item)
    return flat

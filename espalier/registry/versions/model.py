"""A model folder as the registry sees it: what it is, what was measured on it, and where it came from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espalier import files
from espalier.errors import BadInput
from espalier.params import Params
from espalier.paths import ARCHITECTURE, LINEAGE, MANIFEST, MODELS, ONNX, WEIGHTS

CONTENT_FILES = (ARCHITECTURE, WEIGHTS, ONNX)
_VALUE_LIMIT = (
    5000  # characters; MLflow refuses tags above 5000 on some stores, parameters above 6000
)
_UNFIT = re.compile(r"[^\w\-. /]")  # in a name of a parameter or a metric


@dataclass(frozen=True)
class Model:
    """A sealed folder that was checked against its manifest.

    Attributes:
        entry: Its name in `params.yaml`.
        folder: Where it lies.
        hashes: SHA-256 of each file, by name.
        parent: The entry it was made from; none for the teacher.
        by: The operation that made it.
        more: Tags beside those that say the above: where it was copied from.
    """

    entry: str
    folder: Path
    hashes: dict[str, str]
    parent: str | None
    by: str
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The same as `espalier.models.content_hash`, without importing torch and hashing every file once more."""
        return files.digest({name: self.hashes[name] for name in CONTENT_FILES})

    def sizes(self) -> dict[str, int]:
        """The bytes of the files that make the model what it is, as they were sealed."""
        entries = files.read_json(self.folder / MANIFEST)["files"]
        return {name: int(entries[name]["bytes"]) for name in CONTENT_FILES}

    def lineage(self) -> dict[str, Any]:
        """What `lineage.json` holds; empty if there is none."""
        return dict(files.read_json(self.folder / LINEAGE)) if LINEAGE in self.hashes else {}

    def parameters(self) -> dict[str, str]:
        """The lineage as flat MLflow parameters: those of the entry by their own names, the rest under `lineage.`."""
        lineage = self.lineage()
        own = lineage.pop("entry", {})
        flat = _flat(lineage, "lineage.") | _flat(own, "")
        return {_UNFIT.sub("_", name): value[:_VALUE_LIMIT] for name, value in flat.items()}

    def made(self) -> tuple[float, float] | None:
        """When making it began and ended, in seconds since 1970, if the lineage says so."""
        lineage = self.lineage()
        ended, seconds = lineage.get("finished"), lineage.get("seconds", 0.0)
        return (float(ended) - float(seconds), float(ended)) if ended is not None else None

    def tags(self) -> dict[str, str]:
        """The tags of its run and its version. The first two are the key by which it is found again."""
        data = self.lineage().get("data")
        tags = {
            "espalier.entry": self.entry,
            "espalier.content": self.content,
            "espalier.by": self.by,
            "espalier.parent": self.parent or "",
            "espalier.data": data if isinstance(data, str) else "",
        }
        return {**self.more, **{name: value for name, value in tags.items() if value}}


def read_model(root: Path, params: Params, entry: str) -> Model:
    """Read and check the folder of an entry.

    Raises:
        BadInput: If it is not sealed, or a file is missing or damaged; it names the file.
    """
    folder = root / MODELS / entry
    hashes = files.verify(folder)
    for name in CONTENT_FILES:
        if name not in hashes:
            raise BadInput(f"{folder} should hold {name}. Found {', '.join(sorted(hashes))}.")
    declared = params.entry(entry)
    return Model(entry, folder, hashes, getattr(declared, "parent", None), declared.by)


def _flat(value: dict[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(item)
    return flat

"""DVC's cache: objects named by the MD5 of their content, verified, dropped and restored.

DVC trusts an object that is read-only without reading it, so that a damaged one comes back with every
`dvc checkout`. The content of a folder is an object with the ending `.dir`: a JSON list of MD5s and paths.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier import files

_FOLDER = re.compile(r"[0-9a-f]{2}")
_OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
DIRECTORY = ".dir"


def md5(path: Path) -> str:
    """The MD5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(frozen=True)
class Cache:
    """A cache of DVC.

    Attributes:
        folder: its folder.
    """

    folder: Path

    def path(self, name: str) -> Path:
        """The file of an object.

        Args:
            name: MD5 of its content, with the ending `.dir` for a listing.
        """
        return self.folder / "files" / "md5" / name[:2] / name[2:]

    def objects(self) -> list[str]:
        """The names of all objects."""
        folders = (self.folder / "files" / "md5").glob("*")
        return sorted(
            folder.name + path.name
            for folder in folders
            if _FOLDER.fullmatch(folder.name)
            for path in folder.iterdir()
            if _OBJECT.fullmatch(path.name)
        )

    def holds(self, name: str) -> bool:
        """Whether it holds an intact object of this name."""
        path = self.path(name)
        return path.is_file() and md5(path) == name.removesuffix(DIRECTORY)

    def damaged(self) -> list[str]:
        """The names of the objects whose content has another MD5."""
        return [name for name in self.objects() if not self.holds(name)]

    def drop(self, name: str) -> None:
        """Remove an object."""
        self.path(name).unlink(missing_ok=True)

    def add(self, name: str, content: bytes) -> None:
        """Store an object, read-only as DVC stores it."""
        path = self.path(name)
        files.write(path, content)
        path.chmod(0o444)

    def listing(self, name: str) -> dict[str, str] | None:
        """MD5 of each file of a folder by its path; None if the listing is lost or damaged."""
        if not self.holds(name):
            return None
        entries: list[dict[str, Any]] = json.loads(self.path(name).read_bytes())
        return {entry["relpath"]: entry["md5"] for entry in entries}

    def forget_runs(self, names: list[str]) -> int:
        """Remove the entries of DVC's run cache that refer to lost objects; returns how many."""
        lost = [name.encode() for name in names]
        found = [path for path in (self.folder / "runs").rglob("*") if path.is_file()]
        gone = [path for path in found if any(name in path.read_bytes() for name in lost)]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)


def write_listing(content: Mapping[str, str]) -> tuple[str, bytes]:
    """The name and the content of the listing of a folder, as DVC writes it.

    Args:
        content: MD5 of each file by its path.
    """
    entries = [{"md5": content[path], "relpath": path} for path in sorted(content)]
    text = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + DIRECTORY, text

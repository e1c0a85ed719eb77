"""The files of a data set's folder: none is left out unsaid."""

import os
import warnings
from collections import Counter
from pathlib import Path

from espalier.errors import BadInput, Notice

_DESCRIPTIONS = ("classes.json", "source.json")


def visible(folder: Path) -> list[Path]:
    """All files below a folder in a fixed order, without hidden ones.

    Links to files are followed, as DVC makes them. Links to folders, broken links and special files
    are refused, because they would be left out.

    Raises:
        BadInput: if there is one of these.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise BadInput(
                    f"Expected {Path(place) / name} to be a folder; found a link to a folder, whose "
                    "images would be left out: put the folder itself there."
                )
        found += [Path(place) / name for name in names if not name.startswith(".")]
    for path in found:
        if not path.is_file():
            kind = "a broken link" if path.is_symlink() else "neither a file nor a folder"
            raise BadInput(f"Expected {path} to be a file; found {kind}.")
    return sorted(found)


def readable_name(path: Path) -> str:
    r"""A path in text that can be stored; bytes that are not UTF-8 become `\xNN`."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def say_skipped(folder: Path, used: set[Path], wanted: str) -> None:
    """Say how many visible files beside the used ones are no examples, by their endings.

    Args:
        folder: folder of the data set.
        used: files that are examples, or hold them.
        wanted: what examples are, in words.
    """
    others = [path for path in visible(folder) if path not in used]
    others = [path for path in others if path.relative_to(folder).as_posix() not in _DESCRIPTIONS]
    if others:
        endings = Counter(path.suffix.lower() or "no ending" for path in others)
        kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
        text = f"Skipped {len(others)} files in {folder} that are no {wanted}: {kinds}."
        warnings.warn(text, Notice, stacklevel=3)

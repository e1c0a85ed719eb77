"""New data for a project: checked before they replace the old, and replaced in one step."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from espalier import files
from espalier.data import folders, layout, parquet, standard, torchvision_files
from espalier.data.converting import convert
from espalier.data.known import DIGITS, KNOWN
from espalier.data.prepare import checked, disk_errors
from espalier.data.source import CLASSES, SOURCE, SPELLINGS, content_hash
from espalier.data.splits import Rules
from espalier.errors import BadInput

EMBEDDED = Path(
    ".dvc", "embedded", "files", "md5"
)  # where DVC keeps what a project brings with itself
DIGITS_MD5 = "297ef853613ab37722c3c62c314e47eb"


@dataclass(frozen=True)
class ImportedData:
    """What was brought: the data set's name, classes and shape (channels, height, width), and examples per split.

    `dropped` counts the examples that `prepare` will leave out because a stricter split holds the same image.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    counts: dict[str, int]
    dropped: int
    source_hash: str


def bring(
    source: str,
    target: Path,
    root: Path | None,
    workshop: Path,
    rules: Rules,
    before_replacing: Callable[[], None] = lambda: None,
) -> ImportedData:
    """Put a data set in the place of `target`, the `data/` of a project, if it passes every check of `prepare`.

    Args:
        source: The name of a known data set, or a path to parquet files or a folder of images.
        target: The folder to be made or replaced.
        root: Where the files of a known data set already lie: in the folder, in torchvision's layout below it, or as
            parquet files. None downloads them, except for `digits`, which the project brings with itself.
        workshop: A folder for work in progress, on the file system of `target`.
        rules: How `prepare` will split the data: a check too.
        before_replacing: Called when the new data are complete and sound, before the old are touched.

    Raises:
        BadInput: If there are no such data or they fail a check. The old data are as they were.
        TryAgain: If the download failed.
    """
    with disk_errors(workshop), files.replacing(target, workshop) as draft:
        shown = _fill(draft, source, root, target, workshop)
        try:
            with checked(layout.read(draft), rules, workshop) as data:
                name, shape = data.source.name, data.images.shape[1:]
                brought = ImportedData(
                    name, data.classes, shape, data.counts, data.dropped, content_hash(draft)
                )
        except BadInput as error:  # the user's own folder can be mended, the copy cannot
            raise BadInput(str(error).replace(str(draft), str(shown))) from None
        before_replacing()
    return brought


def _fill(draft: Path, source: str, root: Path | None, target: Path, workshop: Path) -> Path:
    """Fill the draft, and say what its files should be called in errors."""
    if source == DIGITS and root is None:
        _restore(DIGITS_MD5, target.parent / EMBEDDED, draft)
        return target
    if source in KNOWN:
        with torchvision_files.found(source, root, workshop) as folder:
            _take(folder, draft, source, expected=source)
        return root or target
    path = Path(source).expanduser()
    if root is not None:
        raise BadInput(
            f"Expected --root to go with a known data set: {', '.join(KNOWN)}; found {source!r}."
        )
    if not path.exists():
        raise BadInput(
            f"Expected SOURCE to be one of {', '.join(KNOWN)}, or a path; found {source!r}: "
            "nothing there."
        )
    _take(path, draft, _name(path.resolve()))
    return path if path.is_dir() else path.parent


def _take(path: Path, draft: Path, name: str, expected: str | None = None) -> None:
    single = path.is_file()
    folder = path.parent if single else path
    if single and path.suffix != ".parquet":
        raise BadInput(
            f"Expected {path} to be a folder or a parquet file; found another kind of file."
        )
    copied = [path] if single else parquet.found(path)
    if (
        not copied
        and not standard.idx_folder(path, expected)
        and not standard.cifar_name(path, expected)
    ):
        copied = folders.found(path)
    if copied:
        copied += [
            extra for extra in (folder / CLASSES, folder / SOURCE) if extra.is_file() and not single
        ]
        for file in copied:
            goal = draft / file.relative_to(folder)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, goal)
    else:
        convert(layout.read(path, expected), draft, expected)
    known = KNOWN.get(expected or "")
    if known and known.classes and not (draft / CLASSES).exists():
        files.write_json(draft / CLASSES, list(known.classes))
    if expected or not (draft / SOURCE).exists():
        files.write_json(draft / SOURCE, {"name": name})


def _name(path: Path) -> str:
    stem = path.stem if path.is_file() else path.name
    if stem.split("-")[0] in SPELLINGS:
        stem = path.parent.name
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or layout.UNNAMED


def _restore(md5: str, objects: Path, draft: Path) -> None:
    """Write the files of a version that DVC keeps, each checked against the MD5 that it is kept under."""
    listing = _object(f"{md5}.dir", objects)
    for entry in json.loads(listing):
        (draft / entry["relpath"]).write_bytes(_object(entry["md5"], objects))


def _object(md5: str, objects: Path) -> bytes:
    path = objects / md5[:2] / md5[2:]
    if not path.is_file():
        raise BadInput(
            f"Expected {path} to hold a part of the default data; found nothing: restore "
            ".dvc/embedded from git."
        )
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5.removesuffix(".dir"):
        raise BadInput(
            f"Expected {path} to have the MD5 that is its name; found {found}: restore "
            ".dvc/embedded from git."
        )
    return content

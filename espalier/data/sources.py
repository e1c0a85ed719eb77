"""New data for a project: checked before they replace the old, and replaced in one step."""

import hashlib
import json
import re
import shlex
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from espalier import files, folders
from espalier.data import layout, listings, tables, torchvision_files
from espalier.data.converting import convert
from espalier.data.known import DIGITS, KNOWN
from espalier.data.prepare import checked, disk_errors
from espalier.data.source import CLASSES, SOURCE, content_hash
from espalier.data.split_names import SPELLINGS
from espalier.errors import BadInput, Notice
from espalier.settings.data import DataSettings
from espalier.space import Need, require_space

# The default data, as DVC's remote holds them: in the project, else in the installed package.
EMBEDDED = Path(".dvc", "embedded", "files", "md5")
_INSTALLED = Path(__file__).resolve().parents[1] / "embedded" / "files" / "md5"
DIGITS_MD5 = "297ef853613ab37722c3c62c314e47eb"


@dataclass(frozen=True)
class ImportedData:
    """The data that replaced a project's former data.

    Attributes:
        name: name of the data set.
        classes: names of the classes, by label.
        shape: shape of every input.
        description: kind, form and task of the examples in words.
        counts: number of examples of each split.
        dropped: number of examples that `prepare` will leave out, because a stricter split holds the
            same image.
        source_hash: SHA-256 over names and contents of the files.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    description: str
    counts: dict[str, int]
    dropped: int
    source_hash: str


def import_data(
    source: str,
    target: Path,
    root: Path | None,
    workshop: Path,
    settings: DataSettings,
    before_replacing: Callable[[], None] = lambda: None,
) -> ImportedData:
    """Replace `target`, the `data/` of a project, by a data set that passes every check of `prepare`.

    Args:
        source: name of a known data set, or a path to a table or a folder.
        target: folder to create or replace.
        root: folder with the files of a known data set: in the folder, in torchvision's layout below
            it, or as parquet files. None downloads them, except for `digits`, which the project
            contains.
        workshop: folder for work in progress, on the file system of `target`.
        settings: settings of the data, with which `prepare` will read them.
        before_replacing: function that is called when the new data are complete and checked, before
            the old are touched.

    Raises:
        BadInput: if there are no such data or they fail a check. The old data are unchanged.
        TryAgain: if the download failed.
    """
    with disk_errors(workshop), folders.replacing(target, workshop) as draft:
        origin = _fill(draft, source, root, target, workshop, settings)
        with _naming_the_original(draft, origin):
            imported = _describe(draft, settings, workshop)
        before_replacing()
    return imported


@contextmanager
def _naming_the_original(draft: Path, origin: Path) -> Iterator[None]:
    """Name the user's own files in errors and notices: the original can be repaired, not the copy.

    Raises:
        BadInput: for any inside the block.
    """
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", Notice)
            yield
    except BadInput as error:
        raise BadInput(str(error).replace(str(draft), str(origin))) from None
    finally:
        for one in said:
            text = str(one.message).replace(str(draft), str(origin))
            warnings.warn(text, one.category, stacklevel=4)


def _describe(draft: Path, settings: DataSettings, workshop: Path) -> ImportedData:
    """Check the data in the draft and describe them."""
    with checked(layout.read(draft, settings=settings), settings, workshop) as data:
        return ImportedData(
            name=data.source.name,
            classes=data.classes,
            shape=data.inputs.shape[1:],
            description=data.description,
            counts=data.counts,
            dropped=data.dropped,
            source_hash=content_hash(draft),
        )


def _fill(
    draft: Path,
    source: str,
    root: Path | None,
    target: Path,
    workshop: Path,
    settings: DataSettings,
) -> Path:
    """Fill the draft; returns the folder by which errors name its files."""
    if source == DIGITS and root is None:
        _restore(DIGITS_MD5, _embedded(target.parent), draft)
        return target
    if source in KNOWN:
        with torchvision_files.found(source, root, workshop) as folder:
            _copy(folder, draft, source, settings)
            _write_known(draft, source)
        return root or target
    if root is not None:
        raise BadInput(
            f"Expected --root to go with a known data set: {', '.join(KNOWN)}; found {source!r}."
        )
    path = _expanded(source)
    if not path.exists():
        raise BadInput(
            f"Expected SOURCE to be one of {', '.join(KNOWN)}, or a path; found {source!r}: "
            "nothing there."
        )
    if path.is_file():
        _refuse_listing(path, settings)
        _copy_file(path, draft)
    else:
        _copy(path, draft, None, settings)
    if not (draft / SOURCE).exists():
        files.write_json(draft / SOURCE, {"name": _name(path.resolve())})
    return path if path.is_dir() else path.parent


def _expanded(source: str) -> Path:
    """A path with the user's home for `~`; as it is for a user without one."""
    try:
        return Path(source).expanduser()
    except (KeyError, RuntimeError):
        return Path(source)


def _refuse_listing(path: Path, settings: DataSettings) -> None:
    """Refuse a table that names the files of its examples, which would not come along."""
    if path.suffix.lower() not in listings.ENDINGS:
        return
    if any(listings.is_listing(path, kind, settings) for kind in ("image", "audio")):
        raise BadInput(
            f"Expected a folder of the files that {path} lists; found the list alone: "
            f"`espalier data {shlex.quote(str(path.parent))}` brings both."
        )


def _copy_file(path: Path, draft: Path) -> None:
    if path.suffix.lower() not in tables.ENDINGS:
        raise BadInput(
            f"Expected {path} to be a folder or a file of {', '.join(tables.ENDINGS)}; found another "
            "kind of file."
        )
    require_space([Need(draft, path.stat().st_size, "the data")])
    shutil.copyfile(path, draft / path.name)


def _copy(folder: Path, draft: Path, expected: str | None, settings: DataSettings) -> None:
    """Copy a data set, or convert it to parquet if it has a standard set's own format."""
    source = layout.read(folder, expected, settings)
    if not source.files:
        convert(source, draft, expected)
        return
    descriptions = [folder / CLASSES, folder / SOURCE]
    copied = [*source.files, *(path for path in descriptions if path.is_file())]
    require_space([Need(draft, sum(path.stat().st_size for path in copied), "the data")])
    for file in copied:
        copy = draft / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _write_known(draft: Path, name: str) -> None:
    """Write the name and the classes of a known data set."""
    classes = KNOWN[name].classes
    if classes and not (draft / CLASSES).exists():
        files.write_json(draft / CLASSES, list(classes))
    files.write_json(draft / SOURCE, {"name": name})


def _name(path: Path) -> str:
    stem = path.stem if path.is_file() else path.name
    if stem.split("-")[0] in SPELLINGS:
        stem = path.parent.name
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or layout.UNNAMED


def _embedded(project: Path) -> Path:
    """The folder of the default data."""
    own = project / EMBEDDED
    return own if own.is_dir() else _INSTALLED


def _restore(md5: str, objects: Path, draft: Path) -> None:
    """Write the files of a version in DVC's remote, each checked against its MD5."""
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

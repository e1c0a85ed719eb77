"""Errors of the operating system as sentences: a full disk, no permission, limits of a process.

One table says for each error whether another try can succeed, and what to do. Libraries report the same
errors in exceptions of their own, with the operating system's message in their text.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from espalier.errors import BadInput, EspalierError, TryAgain

WRITABLE, OPENABLE, READABLE = "writable", "possible to open", "readable and writable"


@dataclass(frozen=True)
class Reaction:
    """The reaction to an error of the operating system.

    Attributes:
        kind: error by which a command ends: `TryAgain` if another try can succeed, else `BadInput`.
        expected: state of the path that was expected.
        remedy: imperative for the end of the sentence.
    """

    kind: type[EspalierError]
    expected: str
    remedy: str


_SPACE = Reaction(TryAgain, WRITABLE, "free space on its file system and try again")
_PERMISSION = Reaction(BadInput, READABLE, "give this user the permission")
_DEVICE = Reaction(TryAgain, READABLE, "check the device or the connection to it and try again")

REACTIONS: dict[int, Reaction] = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: Reaction(TryAgain, WRITABLE, "free space within the quota and try again"),
    errno.EROFS: Reaction(BadInput, WRITABLE, "mount its file system for writing"),
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EFBIG: Reaction(BadInput, WRITABLE, "raise the limit on file sizes (`ulimit -f`)"),
    errno.EMFILE: Reaction(BadInput, OPENABLE, "raise the limit on open files (`ulimit -n`)"),
    errno.ENFILE: Reaction(TryAgain, OPENABLE, "close files of other programs and try again"),
    errno.EIO: _DEVICE,
    errno.ESTALE: _DEVICE,
    errno.ENAMETOOLONG: Reaction(BadInput, "a path that the system accepts", "use shorter names"),
    errno.EXDEV: Reaction(BadInput, "on one file system", "move the project to one file system"),
}

# messages of libraries without the number of the error
_SPELLINGS = (
    ("database or disk is full", errno.ENOSPC),
    ("No usable temporary directory", errno.ENOSPC),
    ("attempt to write a readonly database", errno.EROFS),
    ("disk I/O error", errno.EIO),
    *((os.strerror(code), code) for code in REACTIONS),
)
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")  # name of a folder that Python's tempfile made
_NUMBER = re.compile(r"\(os error (\d+)\)|\[errno (\d+)\]", re.IGNORECASE)


def as_sentence(error: BaseException, place: Path | None = None) -> EspalierError | None:
    """The sentence for an error of the operating system, of the kind that says whether to try again.

    Args:
        error: the error, or one of a library that reports it.
        place: path to name if the error has none.

    Returns:
        The error to end with; None if it is no error of the table.
    """
    code = code_of(error)
    if code is None:
        return None
    return sentence(code, path_of(error) or place)


def sentence(code: int, place: str | Path | None) -> EspalierError:
    """The sentence for a number of the table, about a path."""
    reaction = REACTIONS[code]
    named = "the disk" if place is None else _without_random_name(Path(place))
    return reaction.kind(
        f"Expected {named} to be {reaction.expected}; found: {os.strerror(code)}: "
        f"{reaction.remedy}."
    )


def _without_random_name(path: Path) -> str:
    """A path; for one in a temporary folder, the folder of temporary files.

    Example: `/tmp/tmpa1b2c3d4/model.onnx` is in `/tmp`.
    """
    for folder in path.parents:
        if _TEMPORARY.fullmatch(path.relative_to(folder).parts[0]):
            return f"{folder}, which holds temporary files (TMPDIR),"
    return str(path)


def code_of(error: BaseException) -> int | None:
    """The number of an error of the table, from the error, its cause, or its text; else None."""
    if isinstance(error, EspalierError):
        return None
    if isinstance(error, OSError) and error.errno in REACTIONS:
        return error.errno
    if error.__cause__ is not None:
        return code_of(error.__cause__)
    return code_in(str(error))


def reaction_to(text: str) -> Reaction | None:
    """The reaction to the error of the table that a message reports; None if it reports none."""
    code = code_in(text)
    return None if code is None else REACTIONS[code]


def code_in(text: str) -> int | None:
    """The number of an error of the table that a message reports; None if it reports none."""
    numbers = [int(one or other) for one, other in _NUMBER.findall(text)]
    spelled = [code for words, code in _SPELLINGS if words in text]
    found = [code for code in (*numbers, *spelled) if code in REACTIONS]
    return found[0] if found else None


def path_of(error: BaseException | None) -> str | None:
    """The path that an error or its cause names."""
    if error is None:
        return None
    named = error.filename if isinstance(error, OSError) else None
    # a file handle has a number instead of a path
    return os.fsdecode(named) if isinstance(named, (str, bytes)) else path_of(error.__cause__)


@contextmanager
def naming(place: Path, draft: Path | None = None) -> Iterator[None]:
    """Name a path in errors of the table that name none, as when a disk is full.

    Args:
        place: path to name.
        draft: path of a temporary file or folder; `place` is named instead of it too.

    Raises:
        OSError: for errors of the table inside the block, with a path.
    """
    try:
        yield
    except Exception as error:
        code, named = code_of(error), path_of(error)
        own = named is None or (draft is not None and Path(named).is_relative_to(draft))
        if code is None or not own:
            raise
        raise OSError(code, os.strerror(code), str(place)) from error


@contextmanager
def sentences(place: Path) -> Iterator[None]:
    """Turn errors of the table into their sentences.

    Args:
        place: path to name in errors that name none.

    Raises:
        TryAgain: for errors that free space or another try can mend.
        BadInput: for the others of the table.
    """
    try:
        yield
    except Exception as error:
        found = as_sentence(error, place)
        if found is None:
            raise
        raise found from error

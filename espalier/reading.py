"""Files of others in formats that libraries read: their errors become one sentence with the file's name."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espalier.errors import BadInput, EspalierError, reason_of


@contextmanager
def reading(path: Path, form: str, remedy: str = "") -> Iterator[None]:
    """Name a file in the errors of the library that reads it inside the block.

    Args:
        path: the file; anything but a file, also a pipe, which would block, is refused before.
        form: form of its content, such as `a sound parquet file`.
        remedy: sentence for the end of the message.

    Raises:
        BadInput: for errors of the library. Errors of the disk and of memory pass.
    """
    refuse_special(path, form)
    try:
        yield
    except (EspalierError, MemoryError):
        raise
    except Exception as error:  # libraries raise nearly anything on a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        end = f" {remedy}" if remedy else ""
        raise BadInput(f"Expected {path} to be {form}; found: {reason_of(error)}.{end}") from None


@contextmanager
def reading_text(path: Path, form: str) -> Iterator[None]:
    """Name a file of characters in the errors of the library that reads it inside the block.

    Args:
        path: the file.
        form: form of its content, such as `a sound table`.

    Raises:
        BadInput: if it is not in UTF-8, and for the library's other errors.
    """
    with reading(path, f"{form} in UTF-8"):
        try:
            yield
        except UnicodeDecodeError as error:
            raise BadInput(
                f"Expected {path} to be {form} in UTF-8; found another encoding, by which "
                f"{reason_of(error)}: save it as UTF-8."
            ) from None


def refuse_special(path: Path, form: str = "a file") -> None:
    """Refuse a path at which there is no file.

    Raises:
        BadInput: if there is nothing, a folder, a pipe, a socket, a device, or a link to one of these.
    """
    try:
        mode = path.stat().st_mode
    except PermissionError:
        raise
    except (OSError, ValueError) as error:  # no file, a circle of links, a name that no disk holds
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(f"Expected {path} to be {form}; found none: {reason}.") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "neither a file nor a folder"
        raise BadInput(f"Expected {path} to be {form}; found {kind}.")


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Add the name of a file to refusals inside the block that do not have it.

    Args:
        place: the path of the file.

    Raises:
        BadInput: for each.
    """
    try:
        yield
    except BadInput as error:
        if str(place) in str(error):
            raise
        raise BadInput(f"{error} The file is {place}.") from None

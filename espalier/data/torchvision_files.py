"""The files of a known data set: in a folder of the user, or downloaded by torchvision."""

import http.client
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from espalier.data.known import KNOWN
from espalier.errors import BadInput, TryAgain, reason_of

SECONDS_OF_SILENCE = 60.0


@contextmanager
def found(name: str, root: Path | None, workshop: Path) -> Iterator[Path]:
    """A folder with the files of a known data set, until the block ends.

    Args:
        name: name of the data set.
        root: folder with the files, or with the archive of CIFAR that torchvision downloads; None
            downloads them.
        workshop: folder for work in progress.

    Raises:
        BadInput: if `root` is no folder, or an archive in it differs from torchvision's.
        TryAgain: if the download failed.
    """
    if root is not None and not root.is_dir():
        raise BadInput(
            f"Expected --root to be a folder with the files of {name}; found no folder {root}."
        )
    archive = root / _reader(name).filename if root and hasattr(_reader(name), "filename") else None
    if root and not (archive and archive.is_file() and not (root / KNOWN[name].folder).is_dir()):
        yield root
        return
    workshop.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="download.", dir=workshop) as folder:
        if archive:
            _unpack(name, archive, folder)
        else:
            _download(name, folder)
        yield Path(folder)


def _reader(name: str) -> Any:
    import torchvision.datasets  # noqa: PLC0415, RUF100  # seconds, and for known data sets alone

    return getattr(torchvision.datasets, KNOWN[name].title, None)


def _unpack(name: str, archive: Path, folder: str) -> None:
    from torchvision.datasets.utils import check_integrity, extract_archive  # noqa: PLC0415, RUF100  # as above

    if not check_integrity(archive, _reader(name).tgz_md5):
        raise BadInput(
            f"Expected {archive} to have the MD5 {_reader(name).tgz_md5}; found another: it is "
            "damaged or another."
        )
    extract_archive(str(archive), folder)


def _download(name: str, folder: str) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_OF_SILENCE)  # torchvision sets none and could wait forever
    try:
        _reader(name)(folder, train=True, download=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = reason_of(error)
        raise TryAgain(
            f"Expected {name} to be downloadable, or lie in a folder given with --root; found: "
            f"{reason}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)

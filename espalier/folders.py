"""Atomic building of folders: beside their final path, flushed to the disk and renamed."""

import errno
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from espalier.errors import BadInput
from espalier.files import flush
from espalier.system_errors import naming

_BESIDE = ".espalier-work"  # folder for drafts beside their destination
_FORMER = ".former"  # ending of a folder that is being replaced


@contextmanager
def replacing(folder: Path, workshop: Path) -> Iterator[Path]:
    """Build a folder in `workshop`, then rename it to `folder`.

    If they are on different file systems, between which nothing can be renamed, it is built in a
    hidden folder beside `folder` instead. The former content of `folder` stays until the new one is
    complete; after an error it is unchanged.
    """
    workshop = workshop_for(folder, workshop)
    _restore(folder, workshop)
    draft = workshop / f"{folder.name}.{uuid.uuid4().hex}"
    try:
        with naming(workshop, draft):
            draft.mkdir(parents=True)
            yield draft
            for path in sorted(draft.rglob("*")):
                flush(path)
            flush(draft)
        with naming(folder.parent, draft):
            _rename(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        with suppress(OSError):  # it is not empty, if others build there too
            if workshop.name == _BESIDE:
                workshop.rmdir()


def workshop_for(folder: Path, workshop: Path) -> Path:
    """A folder in which another one can be built and then renamed to `folder`; both can be written.

    Args:
        folder: path of the finished folder.
        workshop: folder to build in, if it is on the file system of `folder`.

    Returns:
        `workshop`, or a hidden folder beside `folder`.

    Raises:
        BadInput: if `folder` is a mount point, which cannot be replaced.
        OSError: if one of them cannot be written; it names it.
    """
    if folder.is_mount():
        raise BadInput(
            f"Expected {folder} to be a folder that can be replaced; found a mount point: mount its "
            "file system elsewhere, or at the folder above."
        )
    probe = workshop / f".probe.{uuid.uuid4().hex}"
    moved = folder.parent / probe.name
    with naming(workshop, probe):
        probe.mkdir(parents=True)
    try:
        with naming(folder.parent, moved):
            folder.parent.mkdir(parents=True, exist_ok=True)
            moved.mkdir()
        # folders of one device can be mounted apart, so only renaming tells
        probe.rename(moved)
        return workshop
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return beside(folder)
    finally:
        for path in (probe, moved):
            shutil.rmtree(path, ignore_errors=True)


def beside(folder: Path) -> Path:
    """A hidden folder for drafts beside a folder; it goes when they are done."""
    return folder.parent / _BESIDE


def _rename(draft: Path, folder: Path) -> None:
    """Rename a finished folder, in place of a former one if there is one."""
    former = draft.with_name(f"{draft.name}{_FORMER}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if folder.exists():
            _move(folder, former)
            os.utime(former)  # the sweep of leftovers goes by their age
        draft.rename(folder)
    except BaseException:
        if former.exists() and not folder.exists():
            _move(former, folder)
        raise
    flush(folder.parent)
    shutil.rmtree(former, ignore_errors=True)


def _restore(folder: Path, workshop: Path) -> None:
    """Put the former content back that a process had moved away when it was killed."""
    if folder.exists():
        return
    moved = sorted(workshop.glob(f"{glob.escape(folder.name)}.*{_FORMER}"), key=_when_moved)
    if moved:
        _move(moved[-1], folder)


def _when_moved(former: Path) -> float:
    return former.stat().st_mtime


def _move(folder: Path, target: Path) -> None:
    """Rename a folder, or copy it: a folder of a container's image cannot be renamed."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(folder, target)
        shutil.rmtree(folder)


def link_files(source: Path, target: Path) -> None:
    """Give a folder the files of another one: hard links, or copies where the file system has none."""
    shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

"""Small file systems in memory that can be filled or mounted read-only, and permissions that hold for root."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of this size on a folder, which is made; skip the test without permission."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no permission to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def bound(source: Path, folder: Path) -> Iterator[None]:
    """Mount an empty folder on another one of the same file system."""
    source.mkdir()
    subprocess.run(["mount", "--bind", str(source), str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(disk: Path, free: int = 0) -> Iterator[None]:
    """Fill a file system, but for some bytes."""
    filling = disk / "filling"
    found = os.statvfs(disk)
    filling.write_bytes(bytes(found.f_bavail * found.f_frsize - free))
    try:
        yield
    finally:
        filling.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Mount a file system read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@contextmanager
def permissions_enforced() -> Iterator[None]:
    """Have permissions of files hold for root too: without the capabilities that override them."""
    system = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version of the interface, this thread
    former = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    assert system.capget(header, former) == 0
    reduced = (ctypes.c_uint32 * 6)(*former)
    reduced[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert system.capset(header, reduced) == 0
    try:
        yield
    finally:
        assert system.capset(header, former) == 0

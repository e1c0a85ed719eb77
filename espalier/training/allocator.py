"""The memory of one step, kept for the next."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

# Parameters of mallopt(3), and what glibc raises them to by itself as a process allocates: blocks of more than 32 MiB
# go back to the system at once, and the end of the heap when 64 MiB of it are free. The first stays, since larger
# blocks within the heap would leave holes in it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_USUAL = {_MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}
_KEEPING = _USUAL | {_TRIM_THRESHOLD: 2**31 - 1}


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory for the next allocation; at the end, give it back to the system.

    A step of training on a processor frees its activations and allocates them again. In between the C library of Linux
    returns the end of its heap to the system, which clears each page of 4 KiB when it is used again: up to a third of
    the time of a network with few weights and large maps. Numbers and the peak of memory stay the same. Elsewhere than
    with that library nothing is done, and a GPU has an allocator of its own.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _set(library, _KEEPING)
    try:
        yield
    finally:
        _set(library, _USUAL)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None) if os.confstr("CS_GNU_LIBC_VERSION") else None
    except (AttributeError, ValueError, OSError):  # another C library, or another system
        return None


def _set(library: ctypes.CDLL, sizes: dict[int, int]) -> None:
    for parameter, size in sizes.items():
        library.mallopt(parameter, size)

"""Bounds on the memory that libraries take while they decode a file from elsewhere.

Headers lie: a page of a parquet file, a clip or an image of some kB can decode to gigabytes. While a
block runs, the kernel refuses this process more data than a bound (`RLIMIT_DATA`, on Linux), so that
the library ends with a MemoryError.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espalier.errors import BadInput

_STATM = Path("/proc/self/statm")
_DATA = 5  # column of the pages of data and stack


@contextmanager
def bounded(place: object, memory: int) -> Iterator[None]:
    """Refuse a file for which the block takes more memory than a number of bytes.

    Other threads of this process are under the same bound. Elsewhere than on Linux nothing is bounded.

    Args:
        place: the file, or a place in it, for the message.
        memory: largest number of bytes that the block may add to the data of this process.

    Raises:
        BadInput: if it takes more.
    """
    used = data_bytes()
    if not used:
        yield
        return
    former = limit_data(used + memory, widen=False)
    try:
        yield
    except MemoryError:
        raise BadInput(
            f"Expected {place} to decode in at most {memory // 2**20:,} MB of memory; found that it "
            "needs more, or that this machine has less."
        ) from None
    finally:
        limit_data(former)


def limit_data(limit: int, *, widen: bool = True) -> int:
    """Limit the data of this process, on a system that counts them (`data_bytes`).

    Args:
        limit: number of bytes; -1 for none.
        widen: whether the limit may be above the former one.

    Returns:
        The former limit, likewise.
    """
    import resource  # noqa: PLC0415, RUF100 - not on every system

    former, hard = resource.getrlimit(resource.RLIMIT_DATA)
    given = (limit, hard) if widen else (limit, hard, former)
    soft = min((one for one in given if one != resource.RLIM_INFINITY), default=-1)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    return former


def data_bytes() -> int:
    """About the bytes that the kernel counts for `RLIMIT_DATA`; 0 where it does not say."""
    if not _STATM.is_file():
        return 0
    pages = int(_STATM.read_text().split()[_DATA])
    return pages * mmap.PAGESIZE

"""Memory that runs out: another try helps only if other processes hold what is missing."""

import os
import re
import resource
from dataclasses import dataclass
from pathlib import Path

import torch

from espalier.errors import BadInput, EspalierError, TryAgain, reason_of
from espalier.space import in_units

_SPARED = 2**30  # bytes that the system, or the context of a GPU, holds at all times
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_REQUESTED = re.compile(rf"allocate (\d+(?:\.\d+)?) ({'|'.join(_UNITS)})")
_ON_PROCESSOR = ("can't allocate memory", "not enough memory")  # torch's messages


@dataclass(frozen=True)
class Memory:
    """The memory of a device when an allocation failed, in bytes.

    Attributes:
        name: name of the device for the message.
        total: memory of the device, or the limit of this process.
        free: memory that nothing holds.
        own: memory that this process holds.
    """

    name: str
    total: int
    free: int
    own: int

    @property
    def others(self) -> int:
        """Memory that other processes hold."""
        return max(0, self.total - self.free - self.own)

    def would_do(self, size: int) -> bool:
        """Whether so many more bytes would fit if no other process held memory."""
        return self.others > _SPARED and size <= self.free + self.others - _SPARED


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated, on a GPU or the processor."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    is_of_gpu = isinstance(error, torch.AcceleratorError) and "out of memory" in text
    return is_of_gpu or (
        isinstance(error, RuntimeError) and any(words in text for words in _ON_PROCESSOR)
    )


def explain_out_of_memory(error: BaseException) -> EspalierError:
    """The error to end with: `TryAgain` if other processes hold the missing memory, else `BadInput`."""
    requested = requested_bytes(error)
    if not isinstance(error, (torch.OutOfMemoryError, torch.AcceleratorError)):
        return explain(memory_of_processor(), requested)
    try:
        return explain(memory_of_gpu(), requested)
    except (RuntimeError, AssertionError):  # a GPU that fails, or is lost, does not answer
        return TryAgain(
            f"Expected the device to have room for this step; found: {reason_of(error)}: try again."
        )


def explain(memory: Memory, requested: int) -> EspalierError:
    """The error for an allocation that failed.

    Example: of 80 GB, this process holds 20 and others 50; 15 more are requested. Without the others
    they would fit, so another try can succeed. 70 more would not fit in any case.

    Args:
        memory: memory at that moment.
        requested: bytes that were asked for; 0 if unknown.
    """
    more = f"{in_units(requested)} more" if requested else "more"
    asked = f"Expected {memory.name} to have room for {more}"
    if memory.would_do(requested):
        return TryAgain(
            f"{asked}; found that other processes hold {in_units(memory.others)} of "
            f"{in_units(memory.total)}: try again when they have ended."
        )
    return BadInput(
        f"{asked}; found {in_units(memory.own)} of {in_units(memory.total)} in use by this process: "
        "lower `batch_size` of the entry, of `training` or of `evaluation`, or `resident_bytes` if "
        "the data fill the device."
    )


def requested_bytes(error: BaseException) -> int:
    """The bytes that an allocation asked for, from the message of torch or NumPy; 0 if unknown."""
    found = _REQUESTED.search(str(error))
    return int(float(found[1]) * 1024 ** _UNITS.index(found[2])) if found else 0


def memory_of_gpu() -> Memory:
    """The memory of the current GPU."""
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return Memory(name, total, free, torch.cuda.memory_reserved())


def memory_of_processor() -> Memory:
    """The main memory, or the limit on the address space of this process if there is one."""
    size, resident = _own_pages()
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        own = _PAGE * size
        return Memory("this process (`ulimit -v`)", limit, max(0, limit - own), own)
    total, free = _PAGE * os.sysconf("SC_PHYS_PAGES"), _available()
    return Memory("the main memory", total, free, _PAGE * resident)


def _own_pages() -> tuple[int, int]:
    """Pages of the address space of this process, and pages of it in memory; 0 where unknown."""
    path = Path("/proc/self/statm")
    if not path.exists():
        return 0, 0
    size, resident, *_ = map(int, path.read_text().split())
    return size, resident


def _available() -> int:
    """Bytes that the system can give without swapping; all of them where unknown."""
    path = Path("/proc/meminfo")
    text = path.read_text() if path.exists() else ""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else _PAGE * os.sysconf("SC_PHYS_PAGES")

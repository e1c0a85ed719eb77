"""The processors of this machine that this process may use."""

import os

# Bytes of the largest layer of a batch on a processor. Small ones stay in its cache, and the allocator keeps
# them for the next layer; blocks of more than 32 MiB go back to the system, and cost a page fault for each 4 KiB.
_LARGEST_LAYER = 8 * 2**20


def available_processors() -> int:
    """The number of processors on which the system lets this process run; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batch_size_for(layer: int, fewest: int, most: int) -> int:
    """The number of examples, a power of two or a limit, whose largest layer has at most 8 MiB together.

    Args:
        layer: bytes of the largest layer of one example.
        fewest: least number, whatever the bytes.
        most: largest number.
    """
    fitting = _LARGEST_LAYER // max(1, layer)
    power: int = 2 ** max(0, fitting.bit_length() - 1)
    return min(max(fewest, power), most)

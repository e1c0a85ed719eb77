"""Processes that handle files from elsewhere, with limits on their memory and time.

Libraries decode and run such files in C: a damaged file can crash them, or keep them busy without end.
In a process of its own that ends in an error of one file. The processes exchange JSON and arrays of
numbers, no pickle: a process that a file has taken over gives wrong numbers, and no code.
"""

from espalier.limited.process import (
    LimitedProcess,
    Limits,
    ProcessFailed,
    borrow,
    give_back,
)

__all__ = ["LimitedProcess", "Limits", "ProcessFailed", "borrow", "give_back"]

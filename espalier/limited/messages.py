"""Messages between two processes: some fields, and an array of numbers."""

import json
import os
import select
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Fields = dict[str, Any]
Message = tuple[Fields, NDArray[Any]]
Answers = Callable[[Fields, NDArray[Any], Callable[[int], None]], Iterator[Message]]
"""Called with the fields and the array of a request, and a function that sets the limit of memory."""

NOTHING: NDArray[np.uint8] = np.zeros(0, np.uint8)  # the array of a message that has none
_FORM = struct.Struct("<IQ")  # bytes of the fields as JSON, and of the array
_MOST_FIELDS = 2**20  # bytes
_MOST_BYTES = 2**34  # of an array
_AT_ONCE = 2**16  # bytes that are read together, so that small messages take one call of the system
_NUMBERS = "biuf"  # kinds of types of arrays
_CLOSED = "the other process closed its end"


class MessagePipe:
    """Two pipes to another process: one to read its messages from, one to write messages to."""

    def __init__(self, reads: int, writes: int) -> None:
        """Take two descriptors of files; they stay those of the caller."""
        self._reads, self._writes = reads, writes
        self._found = b""  # bytes that were read together with an earlier message

    def send(self, fields: Fields, array: NDArray[Any] = NOTHING, deadline: float = 0.0) -> None:
        """Write a message.

        Args:
            fields: values that JSON has.
            array: its numbers, sent without a copy if they lie one after the other.
            deadline: `time.monotonic()` at the end of the allowed time; 0 for no end.

        Raises:
            OSError: if the other process has ended (EOFError, an OSError, or a TimeoutError).
        """
        content = np.ascontiguousarray(array)
        form = json.dumps({**fields, "shape": content.shape, "type": content.dtype.str}).encode()
        head = _FORM.pack(len(form), content.nbytes) + form
        left = [memoryview(head), content.reshape(-1).view(np.uint8).data]
        while left := [part for part in left if len(part)]:
            self._wait(self._writes, select.POLLOUT, deadline)
            left = _after(left, os.writev(self._writes, left))

    def receive(self, deadline: float = 0.0) -> Message:
        """Read a message.

        Args:
            deadline: as of `send`.

        Raises:
            EOFError: if the other process has ended.
            TimeoutError: if no message came in time.
            ValueError: if it is no message, or larger than any.
        """
        head = self._read(_FORM.size, deadline)
        length, size = _FORM.unpack(head)
        if length > _MOST_FIELDS or size > _MOST_BYTES:
            raise ValueError(f"a message of {length} and {size} bytes")
        fields: Fields = json.loads(self._read(length, deadline))
        kind = np.dtype(fields.pop("type"))
        if kind.kind not in _NUMBERS:
            raise ValueError(f"an array of {kind}")
        content = np.frombuffer(self._read(size, deadline), kind)
        return fields, content.reshape(fields.pop("shape"))

    def is_at_end(self) -> bool:
        """Whether the other process has closed its end; waits for its next message otherwise."""
        if not self._found:
            self._found = os.read(self._reads, _AT_ONCE)
        return not self._found

    def _read(self, count: int, deadline: float) -> bytearray:
        content = bytearray(count)
        view, filled = memoryview(content), min(count, len(self._found))
        view[:filled] = self._found[:filled]
        self._found = self._found[filled:]
        while filled < count:
            self._wait(self._reads, select.POLLIN, deadline)
            if count - filled >= _AT_ONCE:
                found = os.readv(self._reads, [view[filled:]])
            else:
                more = os.read(self._reads, _AT_ONCE)
                found = min(len(more), count - filled)
                view[filled : filled + found] = more[:found]
                self._found = more[found:]
            if not found:
                raise EOFError(_CLOSED)
            filled += found
        return content

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        """Wait until a pipe can be read or written.

        Raises:
            TimeoutError: after the deadline.
        """
        if not deadline:
            return
        poll = select.poll()
        poll.register(descriptor, event)
        left = max(0.0, deadline - time.monotonic())
        if not poll.poll(1000 * left):
            raise TimeoutError


def _after(parts: Sequence[memoryview], count: int) -> list[memoryview]:
    """The rest of some parts, without their first bytes."""
    left = []
    for part in parts:
        left.append(part[count:])
        count = max(0, count - len(part))
    return left

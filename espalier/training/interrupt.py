"""SIGTERM as a request that training checks between steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """A request to stop this process.

    Attributes:
        stop: whether the process is to stop.
    """

    def __init__(self) -> None:
        self.stop = False


@contextmanager
def on_sigterm() -> Iterator[StopRequest]:
    """SIGTERM sets the request inside the block, instead of ending the process.

    Outside the main thread signals are left to the caller.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        request.stop = True

    try:
        former = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not the main thread
        yield request
        return
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, former)

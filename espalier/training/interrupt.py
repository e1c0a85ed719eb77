"""SIGTERM as a wish that is looked at between steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether someone asked this process to stop."""

    def __init__(self) -> None:
        self.stop = False


@contextmanager
def on_sigterm() -> Iterator[StopRequest]:
    """While inside, SIGTERM sets the wish instead of ending the process.

    Only the main thread can ask for that.
    """
    wish = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        wish.stop = True

    try:
        former = signal.signal(signal.SIGTERM, note)
    except ValueError:  # not the main thread: whoever runs us there deals with signals
        yield wish
        return
    try:
        yield wish
    finally:
        signal.signal(signal.SIGTERM, former)

"""The process that `espalier.limited` starts: it answers requests until its input ends.

Its arguments are the place of a function and the arguments of that, which give another function:
`answers(fields, array, allow)`. It yields the answers to a request, each of fields and an array;
`allow(bytes)` sets another limit of memory from there on.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pkgutil import resolve_name

from espalier.bounded import data_bytes, limit_data
from espalier.errors import BadInput, reason_of
from espalier.limited.messages import Answers, Fields, Message, MessagePipe

_SPARE = 5  # seconds after which the process ends by itself, if its parent has not killed it
_LONGEST = 2000  # characters of a reason


def _main() -> None:
    """Answer each request on standard input, until the input ends."""
    place, *arguments = sys.argv[1:]
    writes = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print
    pipe = MessagePipe(os.dup(sys.stdin.fileno()), writes)
    answers: Answers = resolve_name(place)(*arguments)
    base = data_bytes()
    pipe.send({})
    while not pipe.is_at_end():
        _answer(pipe, answers, base)


def _answer(pipe: MessagePipe, answers: Answers, base: int) -> None:
    """Send all answers to the next request, or the error that ended them."""
    fields, array = pipe.receive()
    used = base + array.nbytes

    def allow(memory: int) -> None:
        if base:
            limit_data(used + memory)

    try:
        allow(fields["memory"])
        given = answers(fields, array, allow)
        while (answer := _next(given, fields["seconds"])) is not None:
            pipe.send(*answer)
    except Exception as error:
        pipe.send(_failure(error))
    finally:
        if base:
            limit_data(-1)  # the next request may be large


def _failure(error: Exception) -> Fields:
    """The fields by which the parent knows an error."""
    if isinstance(error, MemoryError):
        return {"request exceeded": True}
    if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the file's
        return {"errno": error.errno, "file": str(error.filename or "")}
    reason = str(error)[:_LONGEST] if isinstance(error, BadInput) else reason_of(error)
    return {"reason": reason}


def _next(answers: Iterator[Message], seconds: float) -> Message | None:
    """The next answer, if it takes not much longer than its limit; None after the last."""
    signal.alarm(int(seconds) + _SPARE)
    try:
        return next(answers, None)
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    _main()

"""The process in which `espalier.runtimes.guarded` runs a file: it answers batches with outputs."""

import os
import signal
import sys
from pathlib import Path
from pkgutil import resolve_name

from espalier.bounded import data_bytes
from espalier.errors import BadInput, reason_of
from espalier.runtimes.guarded import receive, send
from espalier.runtimes.runtime import OpenModel


def _main() -> None:
    """Answer each batch on standard input with its outputs, until the input ends."""
    place, threads = sys.argv[1:]
    opener = resolve_name(place)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print
    base, file = data_bytes(), ""
    model: OpenModel | None = None
    requests = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    while requests.peek(1):
        fields, inputs = receive(requests)
        signal.alarm(int(fields["seconds"]) + 1)
        _limit_memory(base + inputs.nbytes, fields["memory"])
        try:
            if fields["file"] != file:
                model = None  # its memory is free before the next file is opened
                model, file = opener(Path(fields["file"]), int(threads)), fields["file"]
            assert model is not None
            outputs = model.run(inputs)
        except MemoryError:
            send(answers, None, memory=True)
        except Exception as error:
            reason = str(error) if isinstance(error, BadInput) else reason_of(error)
            send(answers, None, reason=reason[:2000])
        else:
            send(answers, outputs)


def _limit_memory(base: int, memory: int) -> None:
    """Limit the data of this process to a number of bytes beside its own; on Linux alone."""
    if base:
        import resource  # noqa: PLC0415, RUF100 - not on every system

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (base + memory, hard))


if __name__ == "__main__":
    _main()

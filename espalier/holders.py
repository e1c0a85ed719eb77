"""The holder of a lock, written beside or into the locked file, so that a waiting process can name it."""

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_BYTES = 4096  # more is no record of a holder


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock.

    Attributes:
        pid: number of the process.
        host: name of its machine.
        since: seconds since 1970.
    """

    pid: int
    host: str
    since: float

    @classmethod
    def this_process(cls) -> "Holder":
        """This process, from now on."""
        return cls(os.getpid(), socket.gethostname(), time.time())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {clock(self.since)}"

    def to_json(self) -> str:
        """Its record."""
        return json.dumps(asdict(self))


def read_holder(path: Path) -> Holder | None:
    """The holder whose record is in a file; None if there is none that can be read."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_BYTES))
        return Holder(int(content["pid"]), str(content["host"]), float(content["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clock(seconds: float) -> str:
    """A time of today as `12:03`, another one with its date.

    Args:
        seconds: seconds since 1970.
    """
    then = time.localtime(seconds)
    is_today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", then)

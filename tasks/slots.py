"""Slots: how many stages may run side by side on this machine, whoever started them.

One per GPU, or as many as the processors allow. A slot is a lock on a file: it ends with the processes that hold it,
however they end. The stage inherits it, so a slot stays taken when a flow is killed and its stage still lives.
"""

import fcntl
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from espalier.errors import Stopped

Share = Literal["none", "one", "all"]

# What a stage takes, by its name before the `@`; every other one takes a slot. `evaluate` measures latency: it wants
# the machine alone. `prepare` and `register` are short, and need no device.
SHARES: Mapping[str, Share] = MappingProxyType(
    {"prepare": "none", "register": "none", "evaluate": "all"}
)

_UUID = re.compile(r"^(\s*).*\(UUID: (\S+)\)", re.MULTILINE)
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, where there is one
_POLL = 0.2  # seconds between two tries for a lock


@dataclass(frozen=True)
class Slot:
    """A place for one stage: the file that is locked, and what the stage's environment says about it."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def find_slots(folder: Path, threads: int) -> tuple[Slot, ...]:
    """The slots of this machine: its GPUs, else its processors divided by the threads of one stage."""
    devices = find_devices()
    if devices:
        return tuple(
            Slot(
                folder / f"gpu-{re.sub(r'[^A-Za-z0-9-]', '_', device)}",
                {"CUDA_VISIBLE_DEVICES": device},
            )
            for device in devices
        )
    return tuple(
        Slot(folder / f"cpu-{number}") for number in range(max(1, count_processors() // threads))
    )


def find_devices() -> tuple[str, ...]:
    """The GPUs that may be used, as `CUDA_VISIBLE_DEVICES` names them; found without the seconds of importing torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        named = [device.strip() for device in given.split(",") if device.strip()]
        return tuple(named) if "-1" not in named else ()
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    listed = subprocess.run(
        [command, "-L"], capture_output=True, text=True, check=False, timeout=60
    )
    return parse_devices(listed.stdout) if listed.returncode == 0 else ()


def parse_devices(listing: str) -> tuple[str, ...]:
    """The devices in the answer of `nvidia-smi -L`: each GPU, or the parts that it is divided into (MIG)."""
    devices: list[str] = []
    for indent, uuid in _UUID.findall(listing):
        if indent and devices and devices[-1].startswith("GPU-"):
            devices.pop()  # a divided GPU cannot be used whole
        devices.append(uuid)
    return tuple(devices)


def count_processors() -> int:
    """The processors that this process may use: what it is pinned to, and what its container is given."""
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return allowed


@dataclass(frozen=True)
class Place:
    """Where a stage may run now: its environment, and the locks that its process inherits."""

    environment: Mapping[str, str]
    handles: tuple[int, ...]


@contextmanager
def take(
    slots: tuple[Slot, ...],
    share: Share,
    stop: threading.Event,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[Place]:
    """Hold no slot, one, or all of them. `waiting` is called once if none is free at once.

    Whoever wants all takes them in the same order, and whoever wants one holds only that: nobody waits in a circle.

    Raises:
        Stopped: If the run is stopped while it waits.
    """
    taken: list[int] = []
    place = Place({}, ())
    try:
        if share == "one":
            slot, handle = _lock_any(slots, stop, waiting)
            taken.append(handle)
            place = Place(slot.environment, (handle,))
        elif share == "all":
            for slot in slots:
                taken.append(_lock_any((slot,), stop, waiting)[1])  # noqa: PERF401 - a later one may fail
            place = Place({}, tuple(taken))
        yield place
    finally:
        for handle in taken:
            os.close(handle)


@contextmanager
def hold(
    path: Path, stop: threading.Event, waiting: Callable[[], None] = lambda: None
) -> Iterator[int]:
    """Hold the lock on the file at `path`, waiting for it as long as it takes.

    Raises:
        Stopped: If the run is stopped while it waits.
    """
    with take((Slot(path),), "one", stop, waiting) as place:
        yield place.handles[0]


def _lock_any(
    slots: tuple[Slot, ...], stop: threading.Event, waiting: Callable[[], None]
) -> tuple[Slot, int]:
    told = False
    while not stop.is_set():
        for slot in slots:
            handle = _try_lock(slot.path)
            if handle is not None:
                return slot, handle
        if not told:
            waiting()
            told = True
        stop.wait(_POLL)
    raise Stopped("The run was stopped while it waited for its turn.")


def _try_lock(path: Path) -> int | None:
    # flock and not filelock: the lock must be inherited by the stage, and filelock keeps its handle to itself.
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle

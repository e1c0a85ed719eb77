"""Slots: the number of stages that may run in parallel on this machine, over all runs.

There is one slot per GPU, or as many as the processors allow. A slot is a lock on a file, which the
system releases when the processes that hold it end. The stage inherits the lock, so the slot stays
taken if a flow is killed while its stage is running.
"""

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
from typing import TYPE_CHECKING, Literal

from espalier.errors import Stopped
from espalier.locks import try_lock
from espalier.measures.device import processor_name

if TYPE_CHECKING:
    from espalier.params import Params  # importing pydantic takes 0.3 s

Demand = Literal["none", "all"] | int

# Slots that a stage needs, by its name before the `@`; every other stage needs one for each of its
# `processes`. `evaluate` measures latency and needs the machine alone. `prepare` and `register` are
# short, without a device.
DEMANDS: Mapping[str, Demand] = MappingProxyType(
    {"prepare": "none", "register": "none", "evaluate": "all"}
)

_UUID = re.compile(r"^(\s*).*\(UUID: (\S+)\)", re.MULTILINE)
_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # processor quota of a container
_POLL = 0.2  # seconds between two attempts to lock
_TURN = "several"  # file that is locked while a stage collects several slots


@dataclass(frozen=True)
class Slot:
    """A slot.

    Attributes:
        path: file that is locked.
        environment: variables of the stage that runs on it.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)


def demand_of(kind: str, name: str, params: "Params") -> Demand:
    """The slots that a stage needs: one for each process that trains its model.

    Args:
        kind: name of the stage before the `@`.
        name: name of the entry that it makes, or of the stage.
        params: content of `params.yaml`.
    """
    if kind in DEMANDS:
        return DEMANDS[kind]
    return params.entry(name).processes if name in params.names else 1


def find_slots(folder: Path, threads: int) -> tuple[Slot, ...]:
    """The slots of this machine: one per GPU, else the processors divided by the threads of a stage."""
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
    """The usable GPUs, as `CUDA_VISIBLE_DEVICES` names them; importing torch would take seconds."""
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


def device_name() -> str:
    """The name of this machine's GPU, or of its processor; importing torch would take seconds."""
    command = shutil.which("nvidia-smi") if find_devices() else None
    if command is None:
        return processor_name()
    query = [command, "--query-gpu=name", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    names = listed.stdout.splitlines()
    return names[0].strip() if names else processor_name()


def parse_devices(listing: str) -> tuple[str, ...]:
    """The devices in the output of `nvidia-smi -L`: each GPU, or its MIG partitions."""
    devices: list[str] = []
    for indent, uuid in _UUID.findall(listing):
        if indent and devices and devices[-1].startswith("GPU-"):
            devices.pop()  # a partitioned GPU cannot be used as a whole
        devices.append(uuid)
    return tuple(devices)


def count_processors() -> int:
    """The number of processors that this process may use, by its affinity and its container's quota."""
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or no quota ("max")
        return allowed


@dataclass(frozen=True)
class Allocation:
    """The slots of one stage.

    Attributes:
        environment: variables of the stage.
        handles: file handles of the locks that its process inherits.
    """

    environment: Mapping[str, str]
    handles: tuple[int, ...]


@contextmanager
def take_slots(
    slots: tuple[Slot, ...],
    demand: Demand,
    stop: threading.Event,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[Allocation]:
    """Hold no slot, a number of them, or all.

    One stage at a time collects several slots, under a lock of its own, and keeps those it has while it
    waits for the next. It waits only for stages that have all of their slots, so no deadlock is
    possible, and stages that need one slot cannot take them all before it.

    Args:
        slots: slots of this machine.
        demand: how many are needed; a number above that of the machine stands for all.
        stop: set when the run must stop.
        waiting: called several times a second while no slot is free.

    Raises:
        Stopped: if the run is stopped while it waits.
    """
    taken: dict[Slot, int] = {}
    try:
        if demand != "none":
            wanted = len(slots) if demand == "all" else min(demand, len(slots))
            _collect(slots, wanted, taken, stop, waiting)
        environment = {} if demand == "all" else _environment_of(sorted(taken, key=slots.index))
        yield Allocation(environment, tuple(taken.values()))
    finally:
        for handle in taken.values():
            os.close(handle)


def _collect(
    slots: tuple[Slot, ...],
    wanted: int,
    taken: dict[Slot, int],
    stop: threading.Event,
    waiting: Callable[[], None],
) -> None:
    """Add slots with the handles of their locks to `taken`, until there are as many as wanted."""
    turn = None
    if wanted > 1:
        turn = _lock_any((Slot(slots[0].path.with_name(_TURN)),), stop, waiting)[1]
    try:
        while len(taken) < wanted:
            others = tuple(slot for slot in slots if slot not in taken)
            slot, handle = _lock_any(others, stop, waiting)
            taken[slot] = handle
    finally:
        if turn is not None:
            os.close(turn)


def _environment_of(slots: list[Slot]) -> dict[str, str]:
    """The variables of a stage: those of its slots, with several devices in one list."""
    values: dict[str, list[str]] = {}
    for slot in slots:
        for name, value in slot.environment.items():
            values.setdefault(name, []).append(value)
    return {name: ",".join(each) for name, each in values.items()}


@contextmanager
def hold_lock(
    path: Path, stop: threading.Event, waiting: Callable[[], None] = lambda: None
) -> Iterator[int]:
    """Hold the lock on the file at `path`; waits without limit.

    Raises:
        Stopped: if the run is stopped while it waits.
    """
    with take_slots((Slot(path),), 1, stop, waiting) as allocation:
        yield allocation.handles[0]


def _lock_any(
    slots: tuple[Slot, ...], stop: threading.Event, waiting: Callable[[], None]
) -> tuple[Slot, int]:
    while not stop.is_set():
        for slot in slots:
            handle = try_lock(slot.path)
            if handle is not None:
                return slot, handle
        waiting()
        stop.wait(_POLL)
    raise Stopped("The run was stopped while it waited for a slot.")

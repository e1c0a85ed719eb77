"""A network namespace of Linux, joined to this one by a pair of devices, which can be cut."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Namespace:
    """A namespace in which programs see one network: that of this machine, at `host`."""

    name: str
    device: str
    host: str

    @property
    def prefix(self) -> list[str]:
        """The words before a command that runs in it."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Take the network away: packets are lost, and connections wait."""
        _ip("link", "set", self.device, "down")

    def join(self) -> None:
        """Bring it back."""
        _ip("link", "set", self.device, "up")


@contextlib.contextmanager
def namespace() -> Iterator[Namespace | None]:
    """A new namespace; None where the system does not allow one."""
    number = os.getpid() % 250
    place = Namespace(f"espalier{number}", f"outside{number}", f"10.213.{number}.1")
    try:
        _make(place, f"inside{number}", f"10.213.{number}.2")
    except (OSError, subprocess.CalledProcessError):
        _remove(place)
        yield None
        return
    try:
        yield place
    finally:
        _remove(place)


def _make(place: Namespace, device: str, address: str) -> None:
    """Make a namespace, with a device at an address, whose other end is here."""
    within = ("netns", "exec", place.name, "ip")
    _ip("netns", "add", place.name)
    _ip("link", "add", place.device, "type", "veth", "peer", "name", device)
    _ip("link", "set", device, "netns", place.name)
    _ip("address", "add", f"{place.host}/24", "dev", place.device)
    _ip("link", "set", place.device, "up")
    _ip(*within, "address", "add", f"{address}/24", "dev", device)
    _ip(*within, "link", "set", device, "up")
    _ip(*within, "link", "set", "lo", "up")


def _remove(place: Namespace) -> None:
    """Remove a namespace; its device goes with it, and so does the other end."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # it was never made
        _ip("netns", "delete", place.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)

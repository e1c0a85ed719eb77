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
    name, outside, inside = (f"{word}{number}" for word in ("espalier", "outside", "inside"))
    network, host = f"10.213.{number}", f"10.213.{number}.1"
    within = ("netns", "exec", name, "ip")
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        _ip("link", "set", inside, "netns", name)
        _ip("address", "add", f"{host}/24", "dev", outside)
        _ip("link", "set", outside, "up")
        _ip(*within, "address", "add", f"{network}.2/24", "dev", inside)
        _ip(*within, "link", "set", inside, "up")
        _ip(*within, "link", "set", "lo", "up")
        yield Namespace(name, outside, host)
    finally:
        _ip("netns", "delete", name)  # its device goes with it, and so does the other end


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)

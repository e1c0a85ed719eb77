"""Names of the devices that compute and are timed."""

import hashlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

_EXACT = {"avx512_vnni", "avx_vnni", "asimddp"}  # flags of processors


def device_name(device: "torch.device") -> str:
    """Name of the GPU, or of the processor."""
    if device.type != "cuda":
        return processor_name()
    import torch  # here: importing it takes seconds, and a run that trains nothing needs the processor's name only

    return torch.cuda.get_device_name(device)


def processor_name() -> str:
    """Name of the processor."""
    return _processor_name(_processor_facts())


def processor() -> str:
    """Name of the processor with a hash of its features: two processors may share a name and differ in them."""
    facts = _processor_facts()
    features = facts.get("flags", facts.get("Features", ""))
    return f"{_processor_name(facts)} ({hashlib.sha256(features.encode()).hexdigest()[:8]})"


class Program(Protocol):
    """A program that executes deployed files, such as a runtime.

    Attributes:
        name: its name.
        provider: its name for the unit on which it executes them.
    """

    name: str
    provider: str

    @property
    def version(self) -> str:
        """The version that is installed."""


def latency_device(program: Program, threads: int) -> str:
    """The device of a latency in words: processor, threads, and the program that executes the file.

    The name of the machine is no part of it: equal machines are one device.

    Args:
        program: program that executes the file.
        threads: its number of threads.

    Example:
        `AMD EPYC 9B14 (3f2a61c0), 1 thread, onnxruntime 1.31.1 (CPUExecutionProvider)`
    """
    count = f"{threads} thread{'' if threads == 1 else 's'}"
    return f"{processor()}, {count}, {program.name} {program.version} ({program.provider})"


def _processor_name(facts: dict[str, str]) -> str:
    return facts.get("model name") or platform.processor() or platform.machine()


def _processor_facts() -> dict[str, str]:
    """The first processor in `/proc/cpuinfo`; empty on systems without it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = [line.partition(":") for line in reversed(lines) if ":" in line]
    return {key.strip(): value.strip() for key, _, value in pairs}


def multiplies_bytes_exactly() -> bool:
    """Whether the processor adds products of 8-bit integers without saturating, as far as is known.

    Processors without VNNI (x86) or dot products (ARM) add pairs of them in 16 bits.
    """
    facts = _processor_facts()
    flags = set(f"{facts.get('flags', '')} {facts.get('Features', '')}".split())
    return not flags or bool(flags & _EXACT)

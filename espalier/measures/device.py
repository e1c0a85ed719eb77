"""What a time was measured on."""

import hashlib
import platform
from pathlib import Path


def processor() -> str:
    """The processor's name, with a hash of its abilities: machines of one name may lack some of them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    told = dict(line.partition(":")[::2] for line in reversed(lines) if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    name = told.get("model name") or platform.processor() or platform.machine()
    abilities = hashlib.sha256(told.get("flags", told.get("Features", "")).encode()).hexdigest()
    return f"{name} ({abilities[:8]})"

"""Random numbers as a function of where one is, so that nothing has to be saved to go on exactly."""

import hashlib
import random

import numpy as np
import torch


def derive(seed: int, *where: object) -> int:
    """A 63-bit seed of its own for every place, such as (seed, "order", epoch)."""
    text = repr((seed, *where)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(seed: int, *where: object) -> torch.Generator:
    """A generator on the processor, seeded for one place: the same numbers whatever device trains."""
    return torch.Generator().manual_seed(derive(seed, *where))


def seed_all(seed: int, *where: object) -> None:
    """Seed every global generator (Python's, NumPy's, torch's on all devices) for one place."""
    value = derive(seed, *where)
    random.seed(value)
    np.random.seed(value % 2**32)  # the global one is what users' modules draw from
    torch.manual_seed(value)

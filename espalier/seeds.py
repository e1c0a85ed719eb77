"""Seeds derived from a place in the work, so that nothing has to be saved to resume exactly."""

import hashlib
import random

import numpy as np
import torch


def derive(seed: int, *place: object) -> int:
    """A 63-bit seed for a place, such as (seed, "order", epoch)."""
    text = repr((seed, *place)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator(seed: int, *place: object) -> torch.Generator:
    """A CPU generator seeded for a place: the same numbers whatever device trains."""
    return torch.Generator().manual_seed(derive(seed, *place))


def seed_all(seed: int, *place: object) -> None:
    """Seed every global generator (Python's, NumPy's, torch's on all devices) for a place."""
    value = derive(seed, *place)
    random.seed(value)
    np.random.seed(value % 2**32)  # the modules of users draw from NumPy's global generator
    torch.manual_seed(value)

"""The operations that an entry can ask for: each makes a network, and says what is known of how it came about."""

from collections.abc import Callable

from espalier.making.distill import distill
from espalier.making.factorize import factorized
from espalier.making.fold import folded
from espalier.making.job import Job
from espalier.making.prune import prune
from espalier.making.quantize import quantized
from espalier.making.result import OperationResult
from espalier.making.share import shared
from espalier.making.train import train

OPERATIONS: dict[str, Callable[[Job], OperationResult]] = {
    "train": train,
    "distill": distill,
    "prune": prune,
    "fold": folded,
    "factorize": factorized,
    "quantize": quantized,
    "share": shared,
}

__all__ = ["OPERATIONS", "OperationResult"]

"""The operations that an entry can ask for: each makes a network, and says what is known of how it came about."""

from collections.abc import Callable

from espalier.steps.job import Job
from espalier.steps.operations.distill import distill
from espalier.steps.operations.fold import folded
from espalier.steps.operations.made import Made
from espalier.steps.operations.prune import cut
from espalier.steps.operations.quantize import quantized
from espalier.steps.operations.share import shared
from espalier.steps.operations.train import train

OPERATIONS: dict[str, Callable[[Job], Made]] = {
    "train": train,
    "distill": distill,
    "prune": cut,
    "fold": folded,
    "quantize": quantized,
    "share": shared,
}

__all__ = ["OPERATIONS", "Made"]

"""The operations, by the name that `by` has in `params.yaml`."""

from typing import Any, Protocol, TypeVar

from espalier.making.baseline import baseline
from espalier.making.distill import distill
from espalier.making.factorize import factorize
from espalier.making.fold import fold
from espalier.making.import_network import import_network
from espalier.making.job import Job
from espalier.making.prune import prune
from espalier.making.quantize import quantize
from espalier.making.result import OperationResult
from espalier.making.share import share
from espalier.making.train import train
from espalier.params import BaseEntry

EntryType = TypeVar("EntryType", bound=BaseEntry, contravariant=True)


class Operation(Protocol[EntryType]):
    """A function that makes a network from an entry of its own type."""

    def __call__(self, job: Job[EntryType], /) -> OperationResult:
        """Make the network of a job."""


OPERATIONS: dict[str, Operation[Any]] = {
    "train": train,
    "import": import_network,
    "distill": distill,
    "prune": prune,
    "fold": fold,
    "factorize": factorize,
    "quantize": quantize,
    "share": share,
    "baseline": baseline,
}

__all__ = ["OPERATIONS", "Operation", "OperationResult"]

"""The operations, by the name that `by` has in `params.yaml`."""

import importlib
from typing import Any, Protocol, TypeVar

from espalier.making.job import Job
from espalier.making.result import OperationResult
from espalier.params import BaseEntry

EntryType = TypeVar("EntryType", bound=BaseEntry, contravariant=True)


class Operation(Protocol[EntryType]):
    """A function that makes a network from an entry of its own type."""

    def __call__(self, job: Job[EntryType], /) -> OperationResult:
        """Make the network of a job."""


# module of this package whose function of the same name is the operation; only that of the entry is imported
OPERATIONS = {
    "train": "train",
    "import": "import_network",
    "distill": "distill",
    "prune": "prune",
    "fold": "fold",
    "factorize": "factorize",
    "quantize": "quantize",
    "share": "share",
    "baseline": "baseline",
}


def operation_named(by: str) -> Operation[Any]:
    """The operation of an entry by its key `by`."""
    name = OPERATIONS[by]
    operation: Operation[Any] = getattr(importlib.import_module(f"espalier.making.{name}"), name)
    return operation

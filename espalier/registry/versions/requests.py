"""Search filters in MLflow's syntax, and lists split to the size of one request."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

METRICS_PER_REQUEST = 900  # servers refuse more than 1000
PARAMETERS_PER_REQUEST = 100

Item = TypeVar("Item")


def quoted(name: str) -> str:
    """A name as a value in a filter."""
    return f'"{name}"' if "'" in name else f"'{name}'"


def model_filter(entry: str, content: str) -> str:
    """The filter that finds the runs and versions of a model.

    Args:
        entry: name in `params.yaml`.
        content: The hash of its content.
    """
    return f"tags.`espalier.content` = '{content}' and tags.`espalier.entry` = '{entry}'"


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Split items into lists of at most `size`, in their order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]

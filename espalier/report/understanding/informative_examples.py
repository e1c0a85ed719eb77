"""Which examples are worth looking at."""

from collections.abc import Mapping
from itertools import chain, zip_longest

import numpy as np

from espalier.judging import forgotten


def telling(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray], reference: str, count: int
) -> list[int]:
    """The examples at which models differ most from their reference.

    First those that a model has forgotten, taking from one model after another in turn; then those at which most models
    answer something else than the reference, right or wrong; then those that come first.

    Args:
        labels: Of the examples (N,).
        predicted: The answers of each model (N,), the reference's among them.
        reference: The name of the model that the others are held against.
        count: How many are wanted at most.

    Returns:
        Indices of different examples.
    """
    others = {name: answers for name, answers in predicted.items() if name != reference}
    lost = [
        forgotten(labels, answers, predicted[reference]).tolist() for answers in others.values()
    ]
    differ = np.sum(
        [answers != predicted[reference] for answers in others.values()], axis=0
    ) * np.ones(len(labels))
    in_turn = [index for turn in zip_longest(*lost) for index in turn if index is not None]
    return list(dict.fromkeys(chain(in_turn, np.argsort(-differ, kind="stable").tolist())))[:count]


def spread(count: int, most: int) -> list[int]:
    """At most so many of `count` indices, as far from each other as can be."""
    return (
        np.unique(np.linspace(0, count - 1, min(most, count)).astype(int)).tolist() if count else []
    )

"""The choice of examples for a report."""

from collections.abc import Mapping
from itertools import chain, zip_longest

import numpy as np

from espalier.judging import forgotten


def informative_examples(
    scores: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
    reference: str,
    count: int,
) -> list[int]:
    """The examples at which models differ most from a reference model.

    First the forgotten examples, one of each model in turn; then the examples at which most models
    differ from the reference, right or wrong; then the first ones.

    Args:
        scores: scores (N,) of each model, the reference's included.
        predicted: answers (N,) of each model, likewise.
        reference: name of the reference model.
        count: largest number of examples.

    Returns:
        Indices of distinct examples.

    Example:
        Model a has forgotten 5 and 7, model b has forgotten 5 and 9: 5, 7, 9, then the others.
    """
    theirs = predicted[reference]
    others = [name for name in predicted if name != reference]
    lost = [forgotten(scores[name], scores[reference]).tolist() for name in others]
    in_turn = chain.from_iterable(zip_longest(*lost))
    differing = np.zeros(len(theirs))
    for name in others:
        differing += predicted[name] != theirs
    ordered = np.argsort(-differing, kind="stable").tolist()
    first = [index for index in in_turn if index is not None]
    return list(dict.fromkeys(first + ordered))[:count]


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to `count - 1`, evenly spaced."""
    if not count:
        return []
    positions = np.linspace(0, count - 1, min(most, count)).astype(int)
    return [int(position) for position in np.unique(positions)]

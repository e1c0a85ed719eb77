"""Which classes pay: the drop of every class, with intervals that hold for all of them at once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from espalier.judging.drop import drop_interval
from espalier.judging.interval import LEVEL


def class_drops(
    labels: np.ndarray,
    predicted: np.ndarray,
    reference: np.ndarray,
    classes: Sequence[str],
    level: float = LEVEL,
) -> pd.DataFrame:
    """The accuracy of a model within each class, and its drop from a reference.

    The chance that all intervals hold at once is `level`: each has the level of its root. It is
    that because classes share no example, so that their errors are independent.

    Source of the correction: Šidák (1967), "Rectangular confidence regions for the means of
    multivariate normal distributions". Of the intervals: `drop_interval`.

    Args:
        labels: Of the examples (N,).
        predicted: The model's answers (N,).
        reference: The reference's answers (N,).
        classes: Names by label.
        level: Of all intervals together.

    Returns:
        A row for each class that has examples: `class`, `examples`, `accuracy`, `lost`, `gained`, `drop`, `drop_low`,
        `drop_high`.
    """
    right, was_right = predicted == labels, reference == labels
    counts, correct, lost, gained = (
        np.bincount(labels[chosen], minlength=len(classes))
        for chosen in (np.full(len(labels), True), right, was_right & ~right, right & ~was_right)
    )
    table = pd.DataFrame(
        {
            "class": list(classes),
            "examples": counts,
            "right": correct,
            "lost": lost,
            "gained": gained,
        }
    )
    table = table[table["examples"] > 0].reset_index(drop=True)
    low, high = drop_interval(
        table["lost"], table["gained"], table["examples"], level ** (1 / len(table))
    )
    table.insert(2, "accuracy", table.pop("right") / table["examples"])
    return table.assign(
        drop=(table["lost"] - table["gained"]) / table["examples"], drop_low=low, drop_high=high
    )


def worst(drops: pd.DataFrame) -> pd.Series:
    """The row of the class that lost the most; among equals, of the one that may have lost more."""
    return drops.sort_values(["drop", "drop_high"], ascending=False, kind="stable").iloc[0]

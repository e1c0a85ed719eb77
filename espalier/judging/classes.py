"""Drops of single classes, with intervals that hold for all of them at once."""

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

    With probability `level` all intervals hold at once. Classes share no example, so their errors
    are independent, and the interval of each of k classes has the level `level ** (1 / k)`.

    Source of the correction: Šidák (1967), "Rectangular confidence regions for the means of
    multivariate normal distributions". Source of the intervals: `drop_interval`.

    Args:
        labels: labels (N,) of the examples.
        predicted: answers (N,) of the model.
        reference: answers (N,) of the reference.
        classes: names of the classes, by label.
        level: level of all intervals together.

    Returns:
        A row for each class that has examples: `class`, `examples`, `accuracy`, `lost`, `gained`, `drop`, `drop_low`,
        `drop_high`.
    """
    right, was_right = predicted == labels, reference == labels

    def count(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(labels[chosen], minlength=len(classes))

    table = pd.DataFrame(
        {
            "class": list(classes),
            "examples": np.bincount(labels, minlength=len(classes)),
            "right": count(right),
            "lost": count(was_right & ~right),
            "gained": count(right & ~was_right),
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
    """The row of the class with the largest drop; between equal drops, with the larger upper bound."""
    return drops.sort_values(["drop", "drop_high"], ascending=False, kind="stable").iloc[0]

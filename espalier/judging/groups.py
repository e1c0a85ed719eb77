"""Drops of groups of examples, such as classes, with intervals that hold for all of them at once."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from espalier.judging.comparison import compare
from espalier.judging.interval import LEVEL

_ALL = "all examples"


def group_drops(
    groups: Mapping[str, np.ndarray],
    scores: np.ndarray,
    reference: np.ndarray,
    level: float = LEVEL,
    *,
    disjoint: bool = True,
) -> pd.DataFrame:
    """The mean score of a model within each group, and its drop from a reference.

    With probability `level` all intervals hold at once. Groups that share no example have
    independent errors, and the interval of each of k groups has the level `level ** (1 / k)`; of
    others it has `1 - (1 - level) / k`.

    Source of the correction: Šidák (1967), "Rectangular confidence regions for the means of
    multivariate normal distributions"; for groups that overlap Bonferroni's inequality. Source of
    the intervals: `compare`.

    Args:
        groups: whether each example (N,) belongs to a group, by its name.
        scores: scores (N,) of the model.
        reference: scores (N,) of the reference.
        level: level of all intervals together.
        disjoint: whether no example belongs to two groups.

    Returns:
        A row for each group that has examples, or for all examples if no group has: `class`,
        `examples`, `score`, `lost`, `gained`, `drop`, `drop_low`, `drop_high`.
    """
    present = {name: mask for name, mask in groups.items() if mask.any()}
    if not present:  # as where no example has a label
        present = {_ALL: np.ones(len(scores), bool)}
    count = len(present)
    own = level ** (1 / count) if disjoint else 1 - (1 - level) / count
    rows = [_row(name, scores[mask], reference[mask], own) for name, mask in present.items()]
    return pd.DataFrame(rows)


def _row(
    name: str, scores: np.ndarray, reference: np.ndarray, level: float
) -> dict[str, str | float]:
    found = compare(scores, reference, level)
    return {
        "class": name,
        "examples": len(scores),
        "score": float(scores.mean()),
        "lost": found.lost,
        "gained": found.gained,
        "drop": found.drop.value,
        "drop_low": found.drop.low,
        "drop_high": found.drop.high,
    }


def empty_groups(groups: Mapping[str, np.ndarray]) -> list[str]:
    """The groups without an example; none if all are, since all examples are judged as one group then."""
    empty = [name for name, mask in groups.items() if not mask.any()]
    return empty if len(empty) < len(groups) else []


def largest_bound(groups: Mapping[str, np.ndarray], drops: pd.DataFrame) -> float:
    """The drop that no group exceeds, as sure as the intervals of `group_drops` are.

    It is 1 where a group has no example: nothing bounds what a model loses there.
    """
    return 1.0 if empty_groups(groups) else float(drops["drop_high"].max())


def worst(drops: pd.DataFrame) -> pd.Series:
    """The row of the group with the largest drop; between equal drops, with the larger upper bound."""
    return drops.sort_values(["drop", "drop_high"], ascending=False, kind="stable").iloc[0]

"""Splits: examples for training, for choices, and for the final judgement.

An example's place follows from the hash of its own pixels and the seed, never from its row:
identical images stay together, and data that grow keep most of their examples where they were.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from espalier.data.names import SPLITS, TEST, TRAIN, VALIDATION
from espalier.data.source import Source, first
from espalier.errors import BadInput


@dataclass(frozen=True)
class Rules:
    """Rules of splitting.

    Attributes:
        validation: fraction of the examples outside the test split, where no validation split is
            given.
        test: fraction of all examples, where no test split is given.
        duplicates: treatment of images that are in two given splits: refuse, or drop them from the
            less strict one.
        seed: Another seed, another split.
    """

    validation: float
    test: float
    duplicates: Literal["refuse", "drop"]
    seed: int


def assign(
    source: Source, hashes: list[str], classes: tuple[str, ...], rules: Rules
) -> pd.DataFrame:
    """Give every example a split: a given one as it is, a missing one drawn from train, class by class.

    Args:
        source: The examples, with the splits that they came with.
        hashes: SHA-256 of each one's pixels.
        classes: Names by label.
        rules: rules of splitting.

    Returns:
        `source.examples` with the columns `split` and `sha256`, without what was dropped; its index is the position
        in `source.examples`.

    Raises:
        BadInput: If the same image is in two given splits and should not be dropped, or a class has too few examples.
    """
    examples = source.examples.assign(sha256=hashes)
    given = set(examples["split"])
    examples.loc[examples["split"] == "", "split"] = TRAIN
    examples = _resolve_duplicates(source, examples, rules)
    missing = [name for name in (TEST, VALIDATION) if name not in given]
    _refuse_missing(source, examples, classes)
    _refuse_too_few(examples, classes, missing)
    for remaining, name in reversed(list(enumerate(reversed(missing), start=1))):
        examples = _draw(examples, name, getattr(rules, name), rules.seed, leave=remaining)
    return examples


def _resolve_duplicates(source: Source, examples: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    strictest = examples["split"].map(SPLITS.index)
    leak = strictest < strictest.groupby(examples["sha256"]).transform("max")
    if not leak.any():
        return examples
    if rules.duplicates == "drop":
        return examples[~leak]
    row = first(leak)
    twins = (examples["sha256"] == examples["sha256"][row]) & ~leak
    twin = first(twins)
    count = int(leak.sum())
    raise BadInput(
        f"Expected an image to be in one split alone; found {count} in two, the first in "
        f"{source.place(row)} "
        f"({examples['split'][row]}): the same pixels as {source.place(twin)} "
        f"({examples['split'][twin]}). "
        f"`data.duplicates: drop` in params.yaml drops them from {examples['split'][row]}."
    )


def _refuse_missing(source: Source, examples: pd.DataFrame, classes: tuple[str, ...]) -> None:
    present = set(examples.loc[examples["split"] == TRAIN, "label"])
    if not present:
        raise BadInput(
            f"Expected the {TRAIN} split of {source.folder} to hold examples; found none."
        )
    absent = [label for label in range(len(classes)) if label not in present]
    if absent:
        raise BadInput(
            f"Expected every class to have examples in train; found none of class {absent[0]} "
            f"({classes[absent[0]]}) in "
            f"{source.folder}, {len(absent)} of {len(classes)} classes in all."
        )


def _refuse_too_few(examples: pd.DataFrame, classes: tuple[str, ...], missing: list[str]) -> None:
    train = examples[examples["split"] == TRAIN]
    images = train.groupby("label")["sha256"].nunique()
    for label, name in enumerate(classes):
        found = int(images.get(label, 0))
        if found < 1 + len(missing):
            raise BadInput(
                f"Expected class {label} ({name}) to have at least {1 + len(missing)} different "
                "images to be split into "
                f"{' and '.join([TRAIN, *reversed(missing)])}; found {found}."
            )


def _draw(
    examples: pd.DataFrame, name: str, fraction: float, seed: int, leave: int
) -> pd.DataFrame:
    train = examples[examples["split"] == TRAIN]
    images = (
        train.groupby("sha256").agg(label=("label", "first"), size=("label", "size")).reset_index()
    )
    images["order"] = [
        hashlib.sha256(f"{seed}:{name}:{image}".encode()).hexdigest() for image in images["sha256"]
    ]
    images = images.sort_values(["label", "order"])
    sizes = images.groupby("label")["size"]
    before = sizes.cumsum() - images["size"]
    wanted = (sizes.transform("sum") * fraction).round().clip(lower=1)
    spare = (
        sizes.cumcount(ascending=False) >= leave
    )  # train, and a split still to be drawn, need one of each class
    taken = images.loc[(before < wanted) & spare, "sha256"]
    drawn = (examples["split"] == TRAIN) & examples["sha256"].isin(taken)
    return examples.assign(split=examples["split"].mask(drawn, name))

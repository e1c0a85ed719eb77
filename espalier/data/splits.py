"""Splits: examples for training, for choices, and for the final judgement.

An example's place follows from the hash of its own pixels and the seed alone, never from its row or
from other examples: identical images stay together, and none moves when data grow, so no model is
judged on what an earlier one was trained on. docs/data.md has the exceptions, which `espalier prepare`
gives notice of. Drawn exactly by count, on request, the fractions of each class are exact and examples
may move.
"""

import hashlib
import warnings

import pandas as pd

from espalier.data.names import SPLITS, TEST, TRAIN, VALIDATION
from espalier.data.source import Source, first
from espalier.errors import BadInput, Notice
from espalier.settings.data import DataSettings

_TOO_SMALL = (
    " The few images that it has fell into other splits: add images, leave the class out, or give "
    "the splits yourself (train/, validation/, test/)."
)
_WHOLE = 2.0**256  # SHA-256 as a number lies below


def assign(
    source: Source, hashes: list[str], classes: tuple[str, ...], settings: DataSettings
) -> pd.DataFrame:
    """Give every example a split: a given one as it is, a missing one drawn from train.

    Args:
        source: The examples, with the splits that they came with.
        hashes: SHA-256 of each one's pixels.
        classes: Names by label.
        settings: fractions, seed and rules of the split.

    Returns:
        `source.examples` with the columns `split` and `sha256`, without what was dropped; its index is the position
        in `source.examples`.

    Raises:
        BadInput: If the same image is in two given splits and should not be dropped, or a class has too few examples.
    """
    examples = source.examples.assign(sha256=hashes, stratum=_strata(source))
    given = set(examples["split"])
    examples.loc[examples["split"] == "", "split"] = TRAIN
    examples = _resolve_duplicates(source, examples, settings)
    _say_conflicts(source, examples)
    missing = [name for name in (TEST, VALIDATION) if name not in given]
    by_class = classes if source.task == "classification" else (source.plural,)
    _refuse_missing(source, examples, by_class)
    if settings.split == "exact":
        return _draw_all(examples, by_class, missing, settings)
    for name in missing:
        examples = _place(examples, name, getattr(settings, name), settings.seed or 0)
    _refuse_missing(source, examples, by_class, drawn=True)
    _check_drawn(source, examples, by_class, missing, settings)
    return examples


def _strata(source: Source) -> pd.Series | int:
    """The class of each example; a single stratum where examples have no class."""
    return source.examples["label"] if source.task == "classification" else 0


def _place(examples: pd.DataFrame, name: str, fraction: float, seed: int) -> pd.DataFrame:
    """Move those training examples to a split whose hash, as a fraction, lies below a threshold."""
    train = examples["split"] == TRAIN
    below = examples["sha256"].map(lambda image: _order(seed, name, image) / _WHOLE < fraction)
    return examples.assign(split=examples["split"].mask(train & below, name))


def _order(seed: int, name: str, image: str) -> int:
    """The place of an image in the random order of a split, below 2 to the power of 256."""
    return int(hashlib.sha256(f"{seed}:{name}:{image}".encode()).hexdigest(), 16)


def _check_drawn(
    source: Source,
    examples: pd.DataFrame,
    classes: tuple[str, ...],
    missing: list[str],
    settings: DataSettings,
) -> None:
    """Refuse an empty split that was drawn, and say which classes have no example in one."""
    for name in missing:
        present = set(examples.loc[examples["split"] == name, "stratum"])
        if not present and getattr(settings, name) > 0:
            raise BadInput(
                f"Expected some of the {len(examples)} {source.plural} to fall into {name}; found none: "
                f"`data.split: exact` in params.yaml, a larger `data.{name}`, more {source.plural}, or a "
                f"{name} split of your own gives it some."
            )
        absent = [one for label, one in enumerate(classes) if label not in present]
        if present and absent:
            warnings.warn(
                f"{len(absent)} of {len(classes)} classes have no example in {name}, such as "
                f"{absent[0]}: none of their few {source.plural} fell into it. More {source.plural}, or a "
                f"{name} split of your own, help.",
                Notice,
                stacklevel=4,
            )


def _say_conflicts(source: Source, examples: pd.DataFrame) -> None:
    """Say which images have two labels: at most one of them can be right."""
    distinct = examples.drop_duplicates(["sha256", "label"])
    conflicts = distinct[distinct["sha256"].duplicated(keep=False)]
    if conflicts.empty:
        return
    images = conflicts.groupby("sha256", sort=False)
    _, pair = next(iter(images))
    one, other = (source.place(int(row)) for row in pair.index[:2])
    warnings.warn(
        f"{images.ngroups} {source.plural} have several labels, the first in {one} and {other}: the "
        f"same {_same(source)}.",
        Notice,
        stacklevel=4,
    )


def _same(source: Source) -> str:
    """The common part of equal examples."""
    return "pixels" if source.kind == "image" else "content"


def _draw_all(
    examples: pd.DataFrame, classes: tuple[str, ...], missing: list[str], settings: DataSettings
) -> pd.DataFrame:
    """Draw every missing split by count, class by class."""
    _refuse_too_few(examples, classes, missing)
    for remaining, name in reversed(list(enumerate(reversed(missing), start=1))):
        fraction = getattr(settings, name)
        examples = _draw(
            examples,
            name,
            fraction,
            settings.seed or 0,
            leave=remaining,
        )
    return examples


def _resolve_duplicates(
    source: Source, examples: pd.DataFrame, settings: DataSettings
) -> pd.DataFrame:
    strictest = examples["split"].map(SPLITS.index)
    leak = strictest < strictest.groupby(examples["sha256"]).transform("max")
    if not leak.any():
        return examples
    if settings.duplicates == "drop":
        return examples[~leak]
    row = first(leak)
    twins = (examples["sha256"] == examples["sha256"][row]) & ~leak
    twin = first(twins)
    count = int(leak.sum())
    raise BadInput(
        f"Expected {source.plural} to be in one split alone; found {count} in two, the first in "
        f"{source.place(row)} "
        f"({examples['split'][row]}): the same {_same(source)} as {source.place(twin)} "
        f"({examples['split'][twin]}). "
        f"`data.duplicates: drop` in params.yaml drops them from {examples['split'][row]}."
    )


def _refuse_missing(
    source: Source, examples: pd.DataFrame, classes: tuple[str, ...], *, drawn: bool = False
) -> None:
    present = set(examples.loc[examples["split"] == TRAIN, "stratum"])
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
            + (_TOO_SMALL if drawn else "")
        )


def _refuse_too_few(examples: pd.DataFrame, classes: tuple[str, ...], missing: list[str]) -> None:
    train = examples[examples["split"] == TRAIN]
    images = train.groupby("stratum")["sha256"].nunique()
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
        train.groupby("sha256")
        .agg(stratum=("stratum", "first"), size=("stratum", "size"))
        .reset_index()
    )
    images["order"] = [f"{_order(seed, name, image):064x}" for image in images["sha256"]]
    images = images.sort_values(["stratum", "order"])
    sizes = images.groupby("stratum")["size"]
    before = sizes.cumsum() - images["size"]
    wanted = (sizes.transform("sum") * fraction).round().clip(lower=1)
    spare = (
        sizes.cumcount(ascending=False) >= leave
    )  # train, and a split still to be drawn, need one of each class
    taken = images.loc[(before < wanted) & spare, "sha256"]
    drawn = (examples["split"] == TRAIN) & examples["sha256"].isin(taken)
    return examples.assign(split=examples["split"].mask(drawn, name))

"""Preparation: data are checked, split and written; nothing is written unless all checks pass."""

import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from espalier import files, folders
from espalier.data import layout, writing
from espalier.data.decoding import Decoded, decode_all, encoded_images
from espalier.data.heads import refuse_missing_classes, task_facts
from espalier.data.known import augmentation
from espalier.data.labels import as_targets
from espalier.data.names import SPLITS, TRAIN
from espalier.data.prepared import Dataset, describe, file_name, read_dataset
from espalier.data.source import Source, content_hash
from espalier.data.splits import assign
from espalier.errors import BadInput, Notice
from espalier.inputs import INPUTS
from espalier.paths import EXAMPLES
from espalier.prediction import Regression, task_named
from espalier.settings.data import DataSettings
from espalier.settings.images import ImagePolicy, both_sides
from espalier.space import Need, require_space
from espalier.system_errors import sentences


@dataclass(frozen=True)
class Checked:
    """Data that passed every check, decoded, split and brought into their stored form, but not written.

    Attributes:
        source: data as they were found.
        classes: names by label.
        inputs: stored inputs (N, ...) of all splits; images are mapped from a temporary file.
        facts: facts of their kind.
        examples: `source.examples` with `split` and `sha256`; its index is the row in `inputs`.
        tolerance: tolerance of a regression; None for the default.
        kept: index of each row of `inputs` among all examples of the source; others could not be read.
    """

    source: Source
    classes: tuple[str, ...]
    inputs: NDArray[Any]
    facts: Any
    examples: pd.DataFrame
    tolerance: float | None = None
    kept: Sequence[int] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Examples per split."""
        return {name: int((self.examples["split"] == name).sum()) for name in SPLITS}

    @property
    def dropped(self) -> int:
        """Examples left out because a stricter split holds the same one."""
        return len(self.source.examples) - len(self.examples)

    @property
    def description(self) -> str:
        """Kind, form and task of the examples, such as `images, 1x8x8, 10 classes`."""
        task = task_named(self.source.task, self.task_facts)
        return describe(
            self.source.kind,
            self.inputs.shape[1:],
            self.facts,
            task,
            self.classes,
        )

    @property
    def task_facts(self) -> dict[str, Any]:
        """Facts that the task records of the targets of the train split."""
        if self.source.heads:
            return task_facts(self.source.heads, self.targets(TRAIN))
        if self.source.task != "regression":
            return {}
        facts = asdict(Regression.of(self.targets(TRAIN), self.tolerance))
        return {**facts, "bounds": list(facts["bounds"])}

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of a split in `inputs`."""
        return self.examples.index.to_numpy()[self.examples["split"] == split]

    def targets(self, split: str) -> NDArray[Any]:
        """The targets (N, ...) of a split."""
        labels = self.examples.loc[self.examples["split"] == split, "label"]
        return as_targets(labels, self.source.task, self.classes)


def prepare(
    source: Path,
    target: Path,
    settings: DataSettings | None = None,
    *,
    workshop: Path,
    **keys: Any,
) -> Dataset:
    """Check the data in `source`, split them, and put them as tensors in the place of `target`.

    Args:
        source: folder with a data set in a known layout.
        target: folder to create; its former content stays until the new one is complete.
        settings: settings of the data; None takes those of `keys`.
        workshop: folder for work in progress, on the file system of `target`.
        keys: attributes of `DataSettings`.

    Raises:
        BadInput: if a check fails; the message names the file, the row and the count.
        TryAgain: if the disk is full.
    """
    settings = settings or DataSettings(**keys)
    read = layout.read(source, settings=settings)
    with disk_errors(workshop), checked(read, settings, workshop) as data:
        _say_moved(target, data)
        with folders.replacing(target, workshop) as draft:
            return _write(draft, data, settings.seed or 0)


def _say_moved(target: Path, data: Checked) -> None:
    """Say how many examples of the former prepared data are now in another split."""
    try:
        former = pd.read_parquet(target / EXAMPLES, columns=["file", "row", "sha256", "split"])
        is_another = read_dataset(target).name != data.source.name
    except (OSError, ValueError):  # there are none, or they are damaged and now replaced
        return
    both = _in_both(former, data.examples, with_changed=not is_another)
    moved = both[both["split_former"] != both["split_now"]]
    if len(moved):
        revealed = int((moved["split_former"] == TRAIN).sum())
        warnings.warn(
            f"{len(moved):,} of {len(both):,} examples are in another split than before, {revealed:,} "
            "of them out of train: a model of the former data has seen examples that now judge it. "
            "`data.split: threshold` keeps every example where it is as data grow, while its content, "
            "`data.images` and `data.seed` stay as they are; `data.split: exact` is how data were "
            "split before there was the key.",
            Notice,
            stacklevel=3,
        )


def _in_both(former: pd.DataFrame, now: pd.DataFrame, *, with_changed: bool) -> pd.DataFrame:
    """The splits of the examples that are in two manifests, with a row for each.

    Args:
        former: manifest of the former data.
        now: manifest of the data.
        with_changed: whether a file, or a row of one, whose content is in one manifest alone is the
            same example, changed: as images are that are brought into another form.
    """
    names = ("_former", "_now")
    same = former.drop_duplicates("sha256").merge(
        now.drop_duplicates("sha256"), on="sha256", suffixes=names
    )
    if not with_changed:
        return same
    gone, new = (one[~one["sha256"].isin(same["sha256"])] for one in (former, now))
    return pd.concat([same, gone.merge(new, on=["file", "row"], suffixes=names)])


@contextmanager
def disk_errors(workshop: Path) -> Iterator[None]:
    """Turn errors of the disk into a sentence with the path.

    Args:
        workshop: folder of work in progress, which is named if the error has no path, as when a
            disk is full.

    Raises:
        TryAgain: for errors that free space or another try can mend.
        BadInput: for any other OSError inside the block.
    """
    try:
        with sentences(workshop):
            yield
    except OSError as error:
        raise BadInput(
            f"Expected {error.filename or workshop} to be readable, or writable with room to spare; "
            f"found: {error.strerror}."
        ) from error


@contextmanager
def checked(source: Source, settings: DataSettings, workshop: Path) -> Iterator[Checked]:
    """Decode, check and split data; images live in a temporary file in `workshop` until the block ends.

    Raises:
        BadInput: if a check fails; the message names the file, the row and the count.
    """
    workshop.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="decoded.", dir=workshop) as scratch:
        decoded = decode_all(source, Path(scratch) / "images", settings)
        if decoded.count != len(source.examples):
            raise BadInput(
                f"Expected {source.folder} to hold {len(source.examples)} {source.plural}; found "
                f"{decoded.count}: it was changed while it was read."
            )
        source = source.only(decoded.kept)
        classes = source.classes or _numbered(source.examples["label"])
        _refuse_unprintable(source.folder, classes)
        examples = assign(source, decoded.hashes, classes, settings)
        train = examples.index.to_numpy()[examples["split"] == TRAIN]
        inputs, facts = _stored(source, decoded, train, settings)
        tolerance = settings.task_settings.tolerance
        data = Checked(
            source,
            classes,
            inputs,
            facts,
            examples,
            tolerance,
            decoded.kept,
        )
        refuse_missing_classes(source.heads, data.targets(TRAIN))
        yield data


def _refuse_unprintable(folder: Path, classes: Sequence[str]) -> None:
    """Refuse names of classes with control characters, which a terminal would carry out."""
    for name in classes:
        if not name.isprintable():
            raise BadInput(
                f"Expected the names of classes of {folder} to have printable characters; found "
                f"{name[:100]!a}."
            )


def _numbered(labels: pd.Series) -> tuple[str, ...]:
    """Numbers as the names of classes."""
    return tuple(str(label) for label in range(1 + int(labels.max())))


def _stored(
    source: Source, decoded: Decoded, train: NDArray[np.int64], settings: DataSettings
) -> tuple[NDArray[Any], Any]:
    """The inputs (N, ...) in their stored form, and the facts of their kind."""
    remarks: Counter[str] = Counter()
    options: dict[str, Any] = {}
    if source.kind == "image":
        side = min(np.shape(decoded.examples)[2:])
        crop, flip = augmentation(source.name, side, settings.crop, settings.flip)
        options = {"crop": crop, "flip": flip}
        if settings.images.decode == "on_the_fly":
            options |= {"crop": 0, "decoding": _decoding(decoded, settings.images)}
    elif source.kind == "audio":
        options = {"policy": settings.audio, "remark": lambda what: remarks.update([what])}
    elif source.kind == "text":
        options = {"policy": settings.text}
    elif source.kind == "table":
        options = {"columns": source.columns}
    inputs, facts = INPUTS[source.kind].store(decoded.examples, train, **options)
    for remark, count in remarks.items():
        text = f"{count:,} of {decoded.count:,} {source.plural}: {remark}."
        warnings.warn(text, Notice, stacklevel=3)
    return inputs, facts


def _decoding(decoded: Decoded, policy: ImagePolicy) -> ImagePolicy:
    """The policy by which one image gives the pixels that it gave among all of the data set."""
    channels, *size = np.shape(decoded.examples)[1:]
    is_scaled = both_sides(policy.size) == tuple(size)
    return replace(
        policy,
        channels="gray" if channels == 1 else "rgb",
        size=policy.size if is_scaled else None,  # pixels of standard sets are not scaled
    )


def _write(folder: Path, data: Checked, seed: int) -> Dataset:
    if getattr(data.facts, "decoding", None) is None:
        require_space([Need(folder, data.inputs.nbytes, "the prepared data")])
    parts = {name: data.examples[data.examples["split"] == name] for name in SPLITS}
    for name in SPLITS:
        _write_split(folder / file_name(name), data, name)
    writing.write_examples(folder, pd.concat(parts.values()))
    dataset = Dataset(
        name=data.source.name,
        classes=data.classes,
        shape=data.inputs.shape[1:],
        counts=data.counts,
        seed=seed,
        source_hash=content_hash(data.source.folder),
        files={file_name(name): files.sha256(folder / file_name(name)) for name in SPLITS},
        facts=data.facts,
        dropped=data.dropped,
        kind=data.source.kind,
        task=data.source.task,
        task_facts=data.task_facts,
    )
    writing.write_dataset(folder, dataset)
    return dataset


def _write_split(path: Path, data: Checked, split: str) -> None:
    rows, targets = data.rows(split), data.targets(split)
    if split != TRAIN or getattr(data.facts, "decoding", None) is None:
        writing.write_split(path, data.inputs, rows, targets)
        return
    kept = [data.kept[row] for row in rows]
    writing.write_encoded(path, encoded_images(data.source, kept), targets)

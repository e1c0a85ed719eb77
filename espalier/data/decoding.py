"""Decoding of a data set: all inputs of one shape, hashed, on disk instead of in memory."""

import hashlib
import statistics
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from espalier.data.source import Array, Source
from espalier.decoders.each import Outcome, decode_clips, decode_images
from espalier.errors import BadInput, Notice
from espalier.inputs import INPUTS
from espalier.inputs.image import FORMATS, encode
from espalier.settings.data import DataSettings
from espalier.space import Need, require_space

_LISTED = 20  # unreadable examples in a notice


@dataclass(frozen=True)
class Decoded:
    """The examples of a data set.

    Attributes:
        examples: examples in the order of the source: images (N, C, H, W) uint8 mapped from disk, or
            a list of examples as their kind decodes them.
        hashes: SHA-256 of each example, in which the others have no part.
        kept: index in the source of each example; others could not be read.
        count: number of examples that the source gave.
    """

    examples: Any
    hashes: list[str]
    kept: list[int]
    count: int


@dataclass
class _Survey:
    """The shapes and damages of a data set.

    Attributes:
        shapes: number of images of each shape.
        first: index of the first image of each shape.
        unreadable: index and reason of every image that could not be read.
        remarks: number of images of each change beyond decoding.
        count: number of examples.
    """

    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    first: dict[tuple[int, ...], int] = field(default_factory=dict)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    count: int = 0

    @property
    def is_mixed_in_channels_alone(self) -> bool:
        """Whether some images are gray and some coloured, all of one height and width."""
        return len(self.shapes) > 1 and len({shape[1:] for shape in self.shapes}) == 1


def decode_all(source: Source, scratch: Path, settings: DataSettings | None = None) -> Decoded:
    """Decode every example of a data set; images into the file `scratch`.

    If some images are gray and some are coloured, all become coloured. What was done to images is
    said in notices. Hashes are of images before that: the other images have no part in them.

    Raises:
        BadInput: if more examples cannot be read than `skip_bad`, or an image has another shape than
            the others; it names the first and the number.
        TryAgain: if the disk has too little space for the decoded images.
    """
    settings = settings or DataSettings()
    if source.kind != "image":
        return _decode_each(source, settings)
    survey, pixels = _decode(source, scratch, settings)
    if survey.is_mixed_in_channels_alone and settings.images.channels == "auto":
        coloured = replace(settings, images=replace(settings.images, channels="rgb"))
        as_found = pixels
        survey, pixels = _decode(source, scratch, coloured)
        pixels = _as_found(as_found, pixels)
        survey.remarks["gray images among coloured ones: all are RGB"] = len(pixels)
    _refuse_unreadable(source, survey, settings.skip_bad)
    _refuse_shapes(source, survey)
    _say(survey)
    shape = next(iter(survey.shapes))
    images = np.memmap(scratch, np.uint8, "r", shape=(len(pixels), *shape))
    return Decoded(images, list(pixels.values()), list(pixels), survey.count)


def _as_found(found: dict[int, str], coloured: dict[int, str]) -> dict[int, str]:
    """The hashes of images before gray ones were coloured; coloured copies of gray ones share theirs.

    Args:
        found: hashes of the images as they were found, by their indices.
        coloured: hashes of the coloured images.
    """
    pairs = [(hashed, found.get(index, hashed)) for index, hashed in coloured.items()]
    gray = {hashed: own for hashed, own in pairs if own != hashed}
    return {index: gray.get(hashed, hashed) for index, hashed in coloured.items()}


def _decode_each(source: Source, settings: DataSettings) -> Decoded:
    """The examples of a kind that needs no common shape before it is stored."""
    kind, survey = INPUTS[source.kind], _Survey()
    every = enumerate(_every(source, survey, settings))
    examples = {index: example for index, example in every if example is not None}
    _refuse_unreadable(source, survey, settings.skip_bad)
    decoded = list(examples.values())
    return Decoded(decoded, [kind.digest(one) for one in decoded], list(examples), survey.count)


def _decode(
    source: Source, scratch: Path, settings: DataSettings
) -> tuple[_Survey, dict[int, str]]:
    """The survey, and the SHA-256 of every image that could be read, by its index."""
    survey = _Survey()
    hashes: dict[int, str] = {}
    with scratch.open("wb") as file:
        for index, pixels in enumerate(_every(source, survey, settings)):
            if pixels is None:
                continue
            if not hashes:
                size = len(source.examples) * pixels.nbytes
                require_space([Need(scratch.parent, size, "the decoded images")])
            hashes[index] = _keep(index, pixels, survey, file)
    return survey, hashes


def _every(source: Source, survey: _Survey, settings: DataSettings) -> Iterator[Any | None]:
    """Every example; None for one that cannot be read.

    Raises:
        BadInput: at the first file that ends its process and is one more than may be unreadable:
            each such file can take all the time of its limit.
    """
    for index, outcome in enumerate(_outcomes(source, settings)):
        survey.count += 1
        survey.remarks.update(outcome.remarks)
        if outcome.unreadable:
            survey.unreadable.append((index, outcome.unreadable))
        if outcome.failed and len(survey.unreadable) > settings.skip_bad:
            _refuse_unreadable(source, survey, settings.skip_bad)
        yield None if outcome.unreadable else outcome.example


def _outcomes(source: Source, settings: DataSettings) -> Iterator[Outcome]:
    """The outcome of each example; images and clips are decoded in processes with limits."""
    items = chain.from_iterable(source.contents())
    first = next(items, None)
    every = items if first is None else chain([first], items)
    if isinstance(first, bytes) and source.kind == "image":
        yield from decode_images(every, settings.images, settings.decode_seconds)
    elif source.kind == "image":  # decoded already, as standard sets are
        yield from map(Outcome, every)
    elif source.kind == "audio":
        yield from decode_clips(every, settings.decode_seconds)
    else:
        yield from (_converted(source.kind, item) for item in every)


def _converted(kind: str, item: Any) -> Outcome:
    """An example of a kind that needs no library to be decoded."""
    try:
        return Outcome(INPUTS[kind].decode(item))
    except ValueError as error:
        return Outcome(unreadable=str(error))


def _keep(index: int, pixels: Array, survey: _Survey, file: BinaryIO) -> str:
    survey.shapes[pixels.shape] += 1
    survey.first.setdefault(pixels.shape, index)
    content = pixels.tobytes()
    # else the images are coloured, or refused with the number of such ones
    if len(survey.shapes) == 1:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def _refuse_unreadable(source: Source, survey: _Survey, allowed: int) -> None:
    count = len(survey.unreadable)
    if not count:
        return
    index, reason = survey.unreadable[0]
    formats = f" ({', '.join(FORMATS)})" if source.kind == "image" else ""
    if count > allowed or count == survey.count:
        raise BadInput(
            f"Expected all {source.plural} to be readable{formats}; found {count} that "
            f"{'is' if count == 1 else 'are'} not, the first in {source.place(index)}: {reason}. "
            f"`data.skip_bad: {count}` leaves that many out."
        )
    places = [f"{source.place(index)} ({reason})" for index, reason in survey.unreadable]
    more = f" and {count - _LISTED} more" if count > _LISTED else ""
    text = f"Left out {count} unreadable {source.plural}: {'; '.join(places[:_LISTED])}{more}."
    warnings.warn(text, Notice, stacklevel=3)


def _refuse_shapes(source: Source, survey: _Survey) -> None:
    if len(survey.shapes) > 1:
        expected, count = survey.shapes.most_common(1)[0]
        others = sum(survey.shapes.values()) - count
        shape, index = min(
            ((shape, index) for shape, index in survey.first.items() if shape != expected),
            key=lambda item: item[1],
        )
        raise BadInput(
            f"Expected all images to have one shape, here {_words(expected)} like {count} of them; "
            f"found {others} that "
            f"differ{'s' if others == 1 else ''}, the first in {source.place(index)}: "
            f"{_words(shape)}. `data.images.size: {_median_side(survey)}` in params.yaml scales all "
            "of them."
        )


def _median_side(survey: _Survey) -> int:
    """The median of the shorter sides."""
    sides = Counter[int]()
    for shape, count in survey.shapes.items():
        sides[min(shape[1:])] += count
    return statistics.median_low(sides.elements())


def _say(survey: _Survey) -> None:
    for remark, count in survey.remarks.items():
        text = f"{count:,} of {survey.count:,} images: {remark}."
        warnings.warn(text, Notice, stacklevel=3)


def _words(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{channels}x{height}x{width} (channels x height x width)"


def encoded_images(source: Source, rows: Sequence[int]) -> Iterator[bytes]:
    """Some images of a data set, encoded as they were found; pixels become PNG, which loses nothing.

    Args:
        source: data set, which is read chunk by chunk.
        rows: indices among all of its images, in rising order.
    """
    wanted = set(rows)
    items = chain.from_iterable(source.contents())
    for index, item in enumerate(items):
        if index in wanted:
            yield item if isinstance(item, bytes) else encode(item)

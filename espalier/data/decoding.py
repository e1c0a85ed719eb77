"""Decoding of a data set: all inputs of one shape, hashed, on disk instead of in memory."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from espalier.data.source import Array, Source
from espalier.errors import BadInput
from espalier.inputs.image import FORMATS, decode


@dataclass(frozen=True)
class Pixels:
    """All images (N, C, H, W) uint8 of a data set, mapped from disk, and the SHA-256 of each."""

    images: Array
    hashes: list[str]


@dataclass
class _Survey:
    """The shapes and damages of a data set.

    Attributes:
        shapes: number of images of each shape.
        first: index of the first image of each shape.
        unreadable: index and reason of every image that could not be read.
    """

    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    first: dict[tuple[int, ...], int] = field(default_factory=dict)
    unreadable: list[tuple[int, str]] = field(default_factory=list)


def decode_all(source: Source, scratch: Path) -> Pixels:
    """Decode every image of a data set into the file `scratch`.

    Raises:
        BadInput: if an image cannot be read or has another shape than the others; it names the
            first and the number.
    """
    survey, hashes = _Survey(), []
    with scratch.open("wb") as file:
        for index, pixels in enumerate(_every(source, survey)):
            hashes.append(_keep(index, pixels, survey, file))
    _refuse_unreadable(source, survey)
    _refuse_shapes(source, survey)
    shape = next(iter(survey.shapes))
    return Pixels(np.memmap(scratch, np.uint8, "r", shape=(len(hashes), *shape)), hashes)


def _every(source: Source, survey: _Survey) -> Iterator[Array | None]:
    index = 0
    for chunk in source.images():
        for item in chunk:
            try:
                yield decode(item) if isinstance(item, bytes) else item
            except ValueError as error:
                survey.unreadable.append((index, str(error)))
                yield None
            index += 1


def _keep(index: int, pixels: Array | None, survey: _Survey, file: BinaryIO) -> str:
    if pixels is None:
        return ""
    survey.shapes[pixels.shape] += 1
    survey.first.setdefault(pixels.shape, index)
    if len(survey.shapes) > 1:
        return ""  # the data set will be refused, with the number of such images
    content = pixels.tobytes()
    file.write(content)
    return hashlib.sha256(content).hexdigest()


def _refuse_unreadable(source: Source, survey: _Survey) -> None:
    if survey.unreadable:
        index, reason = survey.unreadable[0]
        raise BadInput(
            f"Expected every image to be readable ({', '.join(FORMATS)}; 8-bit gray or RGB); found "
            f"{len(survey.unreadable)} "
            f"that {'is' if len(survey.unreadable) == 1 else 'are'} not, the first in "
            f"{source.place(index)}: {reason}."
        )


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
            f"{_words(shape)}."
        )


def _words(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{channels}x{height}x{width} (channels x height x width)"

"""Features of inputs that have a meaning in words: columns, words, and the brightness of cells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from espalier.data.prepared import Dataset

_GRID = 4  # cells of a picture along each side
_WORDS = 300  # words whose presence is a feature
_COLOURS = ("red ", "green ", "blue ")


@dataclass(frozen=True)
class Features:
    """The features of some examples of two splits.

    Attributes:
        names: names of the features.
        fitted: features (N, features) float32 of the examples to which a surrogate is fitted.
        tested: features (M, features) float32 of the examples on which it is tested.
    """

    names: tuple[str, ...]
    fitted: NDArray[np.float32]
    tested: NDArray[np.float32]


def interpretable_features(dataset: Dataset, fitted: Tensor, tested: Tensor) -> Features | None:
    """The features of stored inputs that have a meaning in words; None for kinds without any.

    Args:
        dataset: description of the data.
        fitted: stored inputs (N, ...) of the examples to which a surrogate is fitted; they alone
            determine which words are features.
        tested: stored inputs (M, ...) of the examples on which it is tested.
    """
    describe = _KINDS.get(dataset.kind)
    if describe is None:
        return None
    names, extract = describe(dataset, fitted)
    return Features(tuple(names), _numbers(extract(fitted)), _numbers(extract(tested)))


Extract = Callable[[Tensor], Tensor]
Described = tuple[list[str], Extract]


def _columns(dataset: Dataset, fitted: Tensor) -> Described:
    """The columns of a table; a category is its place in alphabetical order."""
    del fitted
    return list(dataset.facts.columns), lambda rows: rows


def _cells(dataset: Dataset, fitted: Tensor) -> Described:
    """The mean brightness, from 0 to 1, of each cell of a coarse grid, in each channel."""
    channels = fitted.shape[1]
    colours = _COLOURS if channels == len(_COLOURS) else ("",) * channels
    rows, columns = (min(_GRID, size) for size in fitted.shape[2:])
    names = [
        f"{colour}row {row + 1}, column {column + 1}"
        for colour in colours
        for row in range(rows)
        for column in range(columns)
    ]
    return names, lambda images: _means(images.float() / 255, (rows, columns))


def _bands(dataset: Dataset, fitted: Tensor) -> Described:
    """The mean loudness of each cell of the spectrogram, as networks see it."""
    front = dataset.input.front(dataset.facts)
    pitches, times = (min(_GRID, size) for size in front(fitted[:1]).shape[2:])
    names = [
        f"pitch {pitch + 1}, time {time + 1}" for pitch in range(pitches) for time in range(times)
    ]
    return names, lambda clips: _means(front(clips), (pitches, times))


def _words(dataset: Dataset, fitted: Tensor) -> Described:
    """The presence of each of the words that occur in most texts."""
    tokens = _tokens_by_text_count(fitted)[:_WORDS]
    stored = np.array(tokens, np.int32)
    names = dataset.input.parts(stored, dataset.facts)
    wanted = torch.tensor(tokens)
    return names, lambda texts: torch.stack([(texts == one).any(1) for one in wanted], dim=1)


def _tokens_by_text_count(texts: Tensor) -> list[int]:
    """The tokens that are in two texts or more, the most widespread first, without padding."""
    counts: dict[int, int] = {}
    for text in texts.tolist():
        for token in set(text):
            counts[token] = counts.get(token, 0) + 1
    widespread = [token for token, count in counts.items() if token and count > 1]
    return sorted(widespread, key=lambda token: (-counts[token], token))


def _means(pictures: Tensor, cells: tuple[int, int]) -> Tensor:
    return F.adaptive_avg_pool2d(pictures, cells).flatten(1)


def _numbers(values: Tensor) -> NDArray[Any]:
    numbers: NDArray[Any] = values.float().cpu().numpy()
    return numbers


_KINDS: dict[str, Callable[[Dataset, Tensor], Described]] = {
    "image": _cells,
    "audio": _bands,
    "text": _words,
    "table": _columns,
}

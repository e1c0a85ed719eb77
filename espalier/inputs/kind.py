"""The interface of input kinds."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

Front = nn.Module
"""Maps stored inputs to what the network sees. Training and the deployed file use the same one."""


class Augmentations(Protocol):
    """The views of a data set: augmented versions, each a function of its number.

    View `count` is view 0 again; `key` leaves out the number of the view and the example.
    """

    @property
    def seed(self) -> int:
        """Seed of all views."""

    @property
    def count(self) -> int:
        """Number of different views."""

    @property
    def key(self) -> Sequence[float]:
        """Everything that determines the values of a view, besides its number and the example."""

    def apply(self, inputs: Tensor, index: Tensor, view: int) -> Tensor:
        """One view of some examples.

        Args:
            inputs: stored inputs (N, ...), on any device.
            index: indices (N,) int64 of the examples in the data set, on the CPU.
            view: number of the view.

        Returns:
            Inputs of the same shape, type and device.
        """


class Decoder(Protocol):
    """Makes one example of a split that is stored encoded.

    The facts of a kind whose examples may be stored so have a method `decoder(shape, seed)`, which
    gives it, or None.
    """

    def __call__(self, content: bytes, index: int, view: int | None) -> NDArray[Any]:
        """One example (...) in the stored type.

        Args:
            content: the encoded example.
            index: index of the example in the split.
            view: number of the view; None for the example without augmentation.

        Raises:
            ValueError: if it cannot be read; the message says why, without a full stop.
        """


class InputKind(Protocol):
    """A kind of input: the type of an example, its storage, and its front.

    Attributes:
        name: name of the kind, as in `dataset.json`.
        plural: word for examples in messages.
        dtype: stored type.
        facts_type: dataclass of the facts in `dataset.json` that the front and the augmentation need,
            in plain JSON values.
    """

    name: str
    plural: str
    dtype: torch.dtype
    facts_type: type[Any]

    def decode(self, content: Any) -> Any:
        """One example from the bytes of a file, or from the cells of a table.

        Raises:
            ValueError: if it cannot be read; the message says why, without a full stop.
        """

    def digest(self, example: Any) -> str:
        """SHA-256 of a decoded example: equal ones are never in two splits."""

    def store(
        self, examples: Any, train: NDArray[np.int64], **options: Any
    ) -> tuple[NDArray[Any], Any]:
        """The stored inputs (N, ...) of a data set, and its facts.

        Args:
            examples: decoded examples of all splits, perhaps mapped from disk.
            train: rows of the train split; the facts are of no other rows.
            options: settings of the kind.
        """

    def describe(self, shape: tuple[int, ...], facts: Any) -> str:
        """The form of an example in words, such as `3x32x32`."""

    def front(self, facts: Any) -> Front:
        """The module between stored inputs (N, ...) and the network, on the CPU."""

    def network_arguments(self, facts: Any) -> dict[str, Any]:
        """Arguments of factories that follow from the data, such as the size of a vocabulary."""

    def model_files(self, shape: tuple[int, ...], facts: Any) -> dict[str, Any]:
        """JSON files that a program needs to make the inputs of a model, by their names."""

    def own_front(self, preprocessing: dict[str, Any], shape: tuple[int, ...]) -> Front:
        """The front of a network that brings its own preprocessing, on the CPU.

        Args:
            preprocessing: settings of the preprocessing, as in `architecture.json`.
            shape: shape of every stored input.

        Raises:
            BadInput: if the settings do not fit the inputs.
        """

    def usual_preprocessings(
        self, preprocessing: dict[str, Any] | None, shape: tuple[int, ...]
    ) -> list[dict[str, Any]]:
        """The usual preprocessings of trained networks that give inputs of the same shape.

        Args:
            preprocessing: preprocessing of a network; None for that of the data.
            shape: shape of every stored input.
        """

    def augmentations(
        self, facts: Any, *, examples: int, seed: int, count: int, active: bool
    ) -> Augmentations:
        """The views of a data set.

        Args:
            facts: facts of the data set.
            examples: number of its examples.
            seed: seed of the views.
            count: number of different views.
            active: whether views differ from the stored inputs at all.
        """

    def parts(self, example: NDArray[Any], facts: Any) -> list[str]:
        """The parts of a stored example in words, such as its tokens; empty for pictures."""

    def without(self, inputs: Tensor, part: int, facts: Any) -> Tensor:
        """Stored inputs (N, parts) in which a part is missing or unknown."""

    def display(self, example: NDArray[Any], facts: Any) -> Image.Image | str:
        """One stored example (...) in a report: a picture, or a text."""

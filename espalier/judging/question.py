"""The question that a model is judged by: the examples of its classes, and their targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from espalier.data.prepared import Dataset
from espalier.errors import BadInput
from espalier.prediction import Concepts


@dataclass(frozen=True)
class Question:
    """The examples of a split that a model answers, and the names of its outputs.

    Attributes:
        classes: names of the classes, or of the concepts, by output.
        examples: indices (n,) of the examples in the split.
        targets: targets (n, ...) of these examples.
        concepts: outputs of a model that does not answer all classes; else None.
    """

    classes: tuple[str, ...]
    examples: np.ndarray
    targets: np.ndarray
    concepts: Concepts | None

    @classmethod
    def of(
        cls, given: Mapping[str, Sequence[str]] | None, dataset: Dataset, targets: Tensor
    ) -> "Question":
        """The question of a model.

        Args:
            given: `concepts` of its architecture.
            dataset: description of the data.
            targets: targets (N, ...) of the split.

        Raises:
            BadInput: if no example belongs to the classes of the model.
        """
        concepts = dataset.concepts(given)
        if concepts is None:
            return cls(dataset.classes, np.arange(len(targets)), targets.numpy(), None)
        index, own = concepts.targets(targets)
        if not len(index):
            raise BadInput(
                f"Expected examples of {concepts.describe()} in the split; found none: a larger "
                "`data.test` has some, or a test split of your own."
            )
        return cls(concepts.names, index.numpy(), own.numpy(), concepts)

    @property
    def words(self) -> str:
        """The classes in words; empty for all classes of the data."""
        return "" if self.concepts is None else self.concepts.describe()

    def reference(self, outputs: np.ndarray) -> np.ndarray:
        """The outputs (n, width) of a reference that answers all classes, as outputs of the model.

        Args:
            outputs: outputs (N, ...) of the reference for all examples of the split.
        """
        chosen = outputs[self.examples]
        return chosen if self.concepts is None else self.concepts.outputs(chosen)

"""Concepts: the outputs of a model that answers some classes of the data, or unions of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.errors import BadInput

REST = "rest"  # stands for all classes that no other concept contains
_OTHER = -1  # the label of examples of no concept


@dataclass(frozen=True)
class Concepts:
    """Disjoint sets of classes, one for each output of a model.

    Attributes:
        labels: labels of the classes of each concept, in the order of the outputs.
        classes: names of the classes of each concept, by the name of the concept.
    """

    labels: tuple[tuple[int, ...], ...]
    classes: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(
        cls, given: Mapping[str, Sequence[str]] | None, classes: Sequence[str]
    ) -> "Concepts | None":
        """The concepts of a model, or of an entry; None if it answers all classes one by one.

        Args:
            given: names of classes by the name of the concept; `("rest",)` stands for all classes
                that no other concept contains, unless there is a class of that name.
            classes: names of the classes of the data, by label.

        Raises:
            BadInput: if a class is unknown, or nothing is left for `rest`.

        Example:
            `{"animal": ("cat", "dog"), "other": ("rest",)}` of the classes car, cat, dog, bus has the
            labels ((1, 2), (0, 3)).
        """
        if given is None:
            return None
        named = [one for members in given.values() for one in members]
        rest = tuple(one for one in classes if one not in named)
        found = {
            name: rest if _is_rest(members, classes) else tuple(members)
            for name, members in given.items()
        }
        _check(found, classes)
        numbers = {name: label for label, name in enumerate(classes)}
        labels = tuple(tuple(numbers[one] for one in members) for members in found.values())
        return cls(labels, found)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the concepts, in the order of the outputs."""
        return tuple(self.classes)

    def describe(self) -> str:
        """The concepts in words, such as `1, 2, 3` or `animal (cat, dog), car`."""
        return ", ".join(
            name if members == (name,) else f"{name} ({', '.join(members)})"
            for name, members in self.classes.items()
        )

    def as_json(self) -> dict[str, list[str]]:
        """The concepts as `architecture.json` holds them."""
        return {name: list(members) for name, members in self.classes.items()}

    def targets(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The examples that belong to a concept, and their concepts.

        Args:
            labels: labels (N,) int64 of the data.

        Returns:
            Indices (n,) int64 of the examples, and the number (n,) int64 of the concept of each.

        Example:
            Labels [0, 1, 3] with the concepts ((1, 2), (3,)): indices [1, 2] and concepts [0, 1].
        """
        concept = torch.full_like(labels, _OTHER)
        for number, members in enumerate(self.labels):
            concept[torch.isin(labels, torch.tensor(members, device=labels.device))] = number
        (index,) = torch.where(concept != _OTHER)
        return index, concept[index]

    def logits(self, logits: Tensor) -> Tensor:
        """Logits (N, concepts) from logits (N, classes) of a model that answers all classes.

        The logit of a concept is the logarithm of the sum of the exponentials of its classes. So
        the softmax is the sum of the probabilities of the classes of each concept, over the sum of
        those of all concepts.

        Source: for single classes Kim and Choi (2021), "Pool of experts" (conditional knowledge
        distillation); for unions Müller, Kornblith and Hinton (2020), "Subclass distillation": the
        probability of a class is the sum of those of its subclasses; for the rest Hinton, Vinyals
        and Dean (2015), section 5.2 (the dustbin class of a specialist).
        """
        columns = [logits[:, list(members)].logsumexp(1) for members in self.labels]
        return torch.stack(columns, 1)

    def outputs(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """`logits` of arrays."""
        found: NDArray[np.float32] = self.logits(torch.from_numpy(outputs)).numpy()
        return found


def _is_rest(members: Sequence[str], classes: Sequence[str]) -> bool:
    return tuple(members) == (REST,) and REST not in classes


def _check(found: Mapping[str, Sequence[str]], classes: Sequence[str]) -> None:
    """Refuse unknown classes and an empty rest.

    Raises:
        BadInput: if there is one.
    """
    for name, members in found.items():
        if not members:
            raise BadInput(
                f"Expected classes of the data to be left for the concept {name!r}, which is the "
                "rest; found that the other concepts contain all of them."
            )
        for one in members:
            if one not in classes:
                near = get_close_matches(one, classes, 1)
                hint = f"; the nearest known class is {near[0]!r}" if near else ""
                raise BadInput(
                    f"Expected `classes` to name classes of the data: {', '.join(classes)}; found "
                    f"{one!r}{hint}."
                )

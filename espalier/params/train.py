"""Entries that are trained on labels alone."""

from typing import Any, Literal, Self

from pydantic import model_validator

from espalier.params.entry import BuiltEntry, ChildEntry, Trained
from espalier.params.losses import ClassWeights


class Teacher(Trained, BuiltEntry):
    """The large network at the root of the tree.

    Attributes:
        class_weights: weight of the examples of each class in the loss; `balanced` gives all classes
            the same total.
    """

    by: Literal["train"] = "train"
    class_weights: ClassWeights | None = None


class Train(Trained, ChildEntry):
    """A network trained on labels alone.

    Attributes:
        model: factory of a new network; if absent, the parent is trained further.
        arguments: arguments of the factory.
        class_weights: weight of the examples of each class in the loss, as of the teacher.
    """

    by: Literal["train"]
    class_weights: ClassWeights | None = None
    model: str | None = None
    arguments: dict[str, Any] = {}

    @model_validator(mode="after")
    def _arguments_are_of_a_factory(self) -> Self:
        if self.arguments and self.model is None:
            raise ValueError(
                "Expected `model` beside `arguments`: without it the parent is trained further; found "
                "`arguments` alone."
            )
        return self

    @property
    def factory(self) -> str | None:
        """Factory of a new network; None to train the parent further."""
        return self.model

    @property
    def factory_arguments(self) -> dict[str, Any]:
        """Arguments of the factory."""
        return self.arguments

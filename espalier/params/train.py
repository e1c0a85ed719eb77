"""Entries that are trained on labels alone."""

from typing import Literal

from espalier.params.entry import BuiltEntry, Further, Trained
from espalier.params.losses import ClassWeights


class Teacher(Trained, BuiltEntry):
    """The large network at the root of the tree.

    Attributes:
        class_weights: weight of the examples of each class in the loss; `balanced` gives all classes
            the same total.
    """

    by: Literal["train"] = "train"
    class_weights: ClassWeights | None = None


class Train(Further):
    """A network trained on labels alone.

    Attributes:
        class_weights: weight of the examples of each class in the loss, as of the teacher.
    """

    by: Literal["train"]
    class_weights: ClassWeights | None = None

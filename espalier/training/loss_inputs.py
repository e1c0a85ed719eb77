"""The inputs of an objective."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from espalier.training.batches import Batch


@dataclass(frozen=True)
class LossInputs:
    """The inputs of an objective: a batch, as the network saw it, and its outputs.

    Attributes:
        outputs: (N, width) float32; logits (N, classes) for a classification.
        inputs: (N, ...) float32, the view of the batch as the network sees it.
        batch: examples and their targets.
        view: number of the view.
        progress: fraction of all steps that are done, in [0, 1).
        heads: outputs of every head by its name, if the network has several; `outputs` are of the
            first.
        stored: (N, ...) in the stored type: the view before the front, for a teacher that has a
            front of its own.
    """

    outputs: Tensor
    inputs: Tensor
    batch: Batch
    view: int
    progress: float
    heads: dict[str, Tensor] = field(default_factory=dict)
    stored: Tensor | None = None


Objective = Callable[[LossInputs], Tensor]
"""Maps the inputs to a loss to be minimised. If it is a module, its parameters are trained too."""

"""Several tasks at once: an objective for each head of a network."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from espalier.distillation.objectives import WeightedSum
from espalier.distillation.settings import Ramp
from espalier.errors import BadInput
from espalier.training.heads import labels_of
from espalier.training.loss_inputs import LossInputs, Objective


def from_heads(objectives: Mapping[str, tuple[float | Ramp, Objective]]) -> WeightedSum:
    """The weighted sum of an objective for each head, which sees the logits and labels of that head alone.

    The labels of a batch are (N, heads), a column for each head in the network's order, or (N,) for all of them.

    Args:
        objectives: For the name of each head (`0`, `1`, ... where the network puts out a sequence) a weight and what
            is minimised; a head without one is not taught.
    """
    return WeightedSum(
        [(weight, _OfHead(name, objective)) for name, (weight, objective) in objectives.items()]
    )


class _OfHead(nn.Module):
    """An objective that takes a head for the network; a module, so that what it trains along is found."""

    def __init__(self, name: str, objective: Objective) -> None:
        super().__init__()
        self._name, self.objective = name, objective

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch."""
        names = list(seen.heads)
        if self._name not in names:
            raise BadInput(
                f"Expected a head to be one of {', '.join(names)}; found {self._name!r}."
            )
        labels = labels_of(seen.batch.targets, names.index(self._name))
        batch = replace(seen.batch, targets=labels)
        return self.objective(replace(seen, outputs=seen.heads[self._name], batch=batch))

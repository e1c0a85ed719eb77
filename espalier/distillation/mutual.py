"""Mutual distillation: two networks are trained together, and each learns from the other."""

from collections.abc import Callable

from torch import Tensor, nn

from espalier.prediction import Task
from espalier.training.heads import heads_of
from espalier.training.loss_inputs import LossInputs


class Mutual(nn.Module):
    """The loss of a student beside a peer that is trained along, on the same views.

    It is the sum of the student's loss against the peer's outputs, the peer's against the student's,
    and the peer's own loss on the labels. Neither gradient reaches the other network. The peer is a
    part of this module, so that it is trained and saved with every checkpoint; it is not deployed.

    Source: Zhang et al. (2018), "Deep mutual learning", eqs. 4 and 5, with both networks in one step.

    Args:
        peer: the other network.
        loss: loss between outputs, of the student and of the peer.
        task: task, which defines the loss on the labels.
    """

    def __init__(
        self, peer: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], task: Task
    ) -> None:
        super().__init__()
        self.peer = peer
        self._loss, self._task = loss, task

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch."""
        ours = seen.outputs
        theirs = next(iter(heads_of(self.peer(seen.inputs)).values()))
        learning = self._loss(ours, theirs.detach())
        teaching = self._loss(theirs, ours.detach())
        alone = self._task.loss(theirs, seen.batch.targets)
        return learning + teaching + alone

"""Inference over a split, in its order."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.inputs import Front
from espalier.prediction import CLASSIFICATION, Task
from espalier.training.batch_size import inference_batch_size
from espalier.training.batches import Examples, in_order
from espalier.training.heads import heads_of, labels_of
from espalier.training.process_group import ProcessGroup


class Inference:
    """Runs networks over one split in evaluation mode, always in the same batches, for reproducible bits.

    Without a `batch_size`, it follows from the outputs of the network's layers; see
    `inference_batch_size`. `precision` makes the context in which the network computes.
    """

    def __init__(
        self,
        examples: Examples,
        front: Front,
        batch_size: int | None = None,
        *,
        task: Task = CLASSIFICATION,
        precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._examples = examples
        self._front = front
        self._batch_size = batch_size
        self.task = task
        self._precision = precision

    @torch.no_grad()
    def outputs(
        self,
        network: nn.Module,
        transform: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        head: int = 0,
        view: int | None = None,
        processes: ProcessGroup | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The outputs (N, width) float32 and targets (N, ...) of the whole split, on the network's device.

        Several processes compute every so many batches each and exchange the outputs. The batches are
        the same for every number of processes, so the bits are too.

        Args:
            network: classifier; its mode is unchanged.
            transform: maps stored inputs and their indices to augmented inputs.
            head: index of the head, if the network has several.
            view: number of the view that examples are decoded as, if they are decoded on the fly.
            processes: processes that share the work and all call this; None for this one alone.
        """
        training = network.training
        network.eval()
        logits, labels = [], []
        groups = in_order(len(self._examples), self._batch_size or self._fitting(network))
        own = groups if processes is None else processes.part(groups) or groups[:1]
        for batch in self._examples.batches(own, view):
            images = batch.inputs if transform is None else transform(batch.inputs, batch.index)
            heads = list(self._heads(network, images).values())
            logits.append(heads[head])
            labels.append(labels_of(batch.targets, head) if len(heads) > 1 else batch.targets)
        network.train(training)
        if processes is not None:
            counts = [len(group) for group in groups]
            logits, labels = (processes.join_parts(one, counts) for one in (logits, labels))
        return torch.cat(logits), torch.cat(labels)

    def _heads(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """The outputs of each head for stored inputs (N, ...)."""
        inputs = self._front(images)
        with self._precision():
            outputs = network(inputs)
        return heads_of(outputs)

    def _fitting(self, network: nn.Module) -> int:
        """The batch size that suits a network."""
        first = next(iter(self._examples.batches(in_order(1, 1))))
        return inference_batch_size(network, self._front(first.inputs))

    def read_out(self, outputs: Tensor) -> Tensor:
        """Outputs (N, ...) of a network as the deployed file gives them."""
        readout = self.task.readout()
        if readout is None:
            return outputs
        values: Tensor = readout.to(outputs.device)(outputs)
        return values

    def scores(
        self, network: nn.Module, processes: ProcessGroup | None = None
    ) -> NDArray[np.float64]:
        """(N,) the score of each example, by the task.

        Args:
            network: classifier; its mode is unchanged.
            processes: processes that share the work, as of `outputs`.
        """
        outputs, targets = self.outputs(network, processes=processes)
        answers = self.task.answers(self.read_out(outputs).cpu().numpy())
        return self.task.scores(answers, targets.cpu().numpy())

    def loss_and_score(
        self, network: nn.Module, processes: ProcessGroup | None = None
    ) -> tuple[float, float]:
        """The mean loss and the mean score of the split, by the task.

        Args:
            network: classifier; its mode is unchanged.
            processes: processes that share the work, as of `outputs`.
        """
        outputs, targets = self.outputs(network, processes=processes)
        loss = self.task.loss(outputs, targets).item()
        score = self.task.score(self.read_out(outputs), targets).mean().item()
        return loss, score

"""The gradient of an objective over a batch, in parts if the whole batch does not fit into memory."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from espalier.errors import BadInput, Notice
from espalier.seeds import seed_all
from espalier.training.heads import heads_of
from espalier.training.loss_inputs import LossInputs, Objective
from espalier.training.memory import explain_out_of_memory, is_out_of_memory

MakeInputs = Callable[[dict[str, Tensor]], LossInputs]
"""Makes the inputs of an objective out of the outputs of all heads."""

_DIVIDED = (
    "A batch of {} examples does not fit into memory; from here on each is computed in {} parts, with "
    "the gradient of the whole, in about a third more time."
)


class Gradients:
    """Computes gradients of an objective with respect to the weights of a network.

    In parts, the network runs twice. The first pass keeps nothing but the outputs of the whole batch,
    and the objective gives their gradient; the second carries it to the weights, a part at a time.
    So every objective has the gradient of the whole batch, up to rounding: also one that compares
    examples with each other, or divides by a sum of weights. The price is one forward pass more.

    Source: Gao et al. (2021), "Scaling deep contrastive learning batch size under memory limited
    setup", section 3.

    Args:
        network: network that is trained.
        objective: loss to be minimised.
        precision: makes the context in which the network computes.
        clear: sets all gradients to zero.
        seed: seed of all that is random.
        may_divide: whether the batch may be computed in parts; the network must allow it too.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        precision: Callable[[], AbstractContextManager[object]],
        clear: Callable[[], None],
        *,
        seed: int,
        may_divide: bool = True,
    ) -> None:
        self._network, self._objective = network, objective
        self._precision, self._clear = precision, clear
        self._seed, self._may_divide = seed, may_divide

    def of(self, inputs: Tensor, seen: MakeInputs, parts: int, step: int) -> tuple[Tensor, int]:
        """Add the gradient of a batch to the weights.

        Args:
            inputs: (N, ...) float32, as the network sees them.
            seen: makes the inputs of the objective.
            parts: number of parts to begin with.
            step: number of the step, which seeds layers such as dropout.

        Returns:
            The loss of the batch, and the number of parts that fitted.

        Raises:
            TryAgain: if memory ran out that other processes hold.
            BadInput: if memory ran out, and the batch cannot be divided further.
        """
        while True:
            self._clear()
            try:
                return self._once(inputs, seen, parts, step), parts
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                refusal = explain_out_of_memory(error)
                if not isinstance(refusal, BadInput) or not self._divides(inputs, 2 * parts):
                    raise refusal from error
            # outside of `except`, where the traceback would keep the tensors of the failed pass
            parts *= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warnings.warn(_DIVIDED.format(len(inputs), parts), Notice, stacklevel=2)

    def _once(self, inputs: Tensor, seen: MakeInputs, parts: int, step: int) -> Tensor:
        if parts == 1:
            loss = self._objective(seen(self._heads(inputs)))
            loss.backward()
            return loss.detach()
        divided = inputs.tensor_split(parts)
        heads = self._outputs(divided, step)
        loss = self._objective(seen(heads))
        loss.backward()
        gradients = {name: head.grad for name, head in heads.items() if head.grad is not None}
        start = 0
        for place, part in enumerate(divided):
            self._reseed(step, place)
            ours, rows = self._heads(part), slice(start, start + len(part))
            for_part = [gradient[rows] for gradient in gradients.values()]
            torch.autograd.backward([ours[name] for name in gradients], for_part)
            start += len(part)
        return loss.detach()

    def _outputs(self, divided: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """The outputs of the whole batch by head, as leaves that a gradient can reach."""
        found = []
        with torch.no_grad():
            for place, part in enumerate(divided):
                self._reseed(step, place)
                found.append(self._heads(part))
        whole = {name: torch.cat([heads[name] for heads in found]) for name in found[0]}
        return {name: head.requires_grad_() for name, head in whole.items()}

    def _heads(self, inputs: Tensor) -> dict[str, Tensor]:
        with self._precision():
            return heads_of(self._network(inputs))

    def _reseed(self, step: int, part: int) -> None:
        """Let both passes over a part draw the same numbers."""
        seed_all(self._seed, "step", step, "part", part)

    def _divides(self, inputs: Tensor, parts: int) -> bool:
        """Whether the gradient of a batch in so many parts is that of the whole batch."""
        if not self._may_divide or parts > len(inputs):
            return False
        layers = list(self._network.modules())
        if any(isinstance(layer, _BatchNorm) and layer.training for layer in layers):
            return False
        # a hook may hand the outputs of a layer to the objective
        if any(layer._forward_hooks for layer in layers):
            return False
        return not self._changes_buffers(inputs[:1])

    def _changes_buffers(self, inputs: Tensor) -> bool:
        """Whether a forward pass changes a buffer, or cannot be computed."""
        former = [buffer.clone() for buffer in self._network.buffers()]
        try:
            with torch.no_grad():
                self._heads(inputs)
        except Exception as error:
            if is_out_of_memory(error):
                return True
            raise
        buffers = zip(former, self._network.buffers(), strict=True)
        return not all(torch.equal(before, after) for before, after in buffers)

"""The loss of an epoch while it runs, kept where the network computes."""

import math

import torch
from torch import Tensor


class NotFiniteError(ArithmeticError):
    """The loss or the gradient is not finite."""


class RunningLoss:
    """The sum of the losses of an epoch's steps, in float64.

    A processor is asked after each step whether its loss and gradient are finite. A GPU lags behind the process that
    gives it work, and a question has it run dry: it is asked once, where the sum is read. Steps after a loss that is
    not finite do no harm, because the training returns to the last good epoch.
    """

    def __init__(self, start: float, device: torch.device) -> None:
        """Go on from the sum of an epoch's former steps, 0 at its beginning."""
        self._sum = torch.tensor(start, dtype=torch.float64, device=device)
        self._asks_each_step = device.type == "cpu"

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Add the loss of a step, a scalar; the sum is finite as long as all losses and gradient norms are.

        Raises:
            NotFiniteError: if one of the two is not finite, on a processor.
        """
        self._sum += loss.double() + 0 * norm.double()
        if self._asks_each_step and not torch.isfinite(self._sum):
            raise NotFiniteError(f"loss {float(loss)}, gradient norm {float(norm)}")

    def total(self) -> float:
        """The sum, once the device has computed it.

        Raises:
            NotFiniteError: if the loss or the gradient of a step was not finite.
        """
        found = float(self._sum)
        if not math.isfinite(found):
            raise NotFiniteError(f"loss {found}")
        return found

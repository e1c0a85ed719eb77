"""A deployed file in the place of the network that it was exported from."""

import torch
from torch import Tensor, nn

from espalier.runtimes.runtime import OpenModel

BATCH = 64  # examples at a time: a runtime is as fast with few, and keeps less memory


class DeployedNetwork(nn.Module):
    """Computes outputs by a deployed file; it takes stored inputs, because the file contains the front."""

    def __init__(self, model: OpenModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, stored: Tensor) -> Tensor:
        """The outputs (N, width) for stored inputs (N, ...) on the processor."""
        return torch.from_numpy(self._model.run(stored.numpy()))

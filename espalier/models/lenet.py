"""LeNet-5 and LeNet-300-100, the usual benchmarks of compression (LeCun et al. 1998)."""

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.mlp import mlp


class LeNet5(nn.Module):
    """Caffe's LeNet-5: 20 and 50 filters of 5x5, then 500 neurons; 431,080 weights for MNIST."""

    def __init__(self, classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        height = _side_after_convolutions(shape[1])
        width = _side_after_convolutions(shape[2])
        self.conv1 = nn.Conv2d(shape[0], 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * height * width, 500)
        self.fc2 = nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        x = nn.functional.max_pool2d(self.conv1(x), 2)
        x = nn.functional.max_pool2d(self.conv2(x), 2)
        hidden = torch.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc2(hidden)
        return logits


def _side_after_convolutions(side: int) -> int:
    """The side of a map after two 5x5 convolutions without padding, each halved by pooling."""
    after_first = (side - 4) // 2
    return (after_first - 4) // 2


def lenet5(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Build Caffe's LeNet-5.

    Raises:
        BadInput: If the images are smaller than 16x16: the second pooling would leave no pixel.
    """
    if min(shape[1:]) < 16:
        raise BadInput(
            f"Expected images of at least 16x16 for espalier:lenet5; found {shape[1]}x{shape[2]}."
        )
    return LeNet5(classes, shape)


def lenet300(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Build LeNet-300-100: 784-300-100-10 for MNIST, 266,610 weights."""
    return mlp(classes=classes, shape=shape, hidden=[300, 100])

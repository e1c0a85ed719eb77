"""The front of networks on tables: numbers are standardised, categories become indicators."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TableFront(nn.Module):
    """Maps stored rows (N, columns) float32 to features (N, width) float32.

    Numbers come first, with mean 0 and standard deviation 1; a missing one becomes 0, the mean. Then
    each category follows as an indicator, 1 where the row has it; an unknown one has none.

    Args:
        categories: categories of each column; empty for a column of numbers.
        mean: mean of each column.
        std: standard deviation of each column.

    Example:
        >>> front = TableFront([(), ("a", "b")], [1.0, 0.0], [2.0, 1.0])
        >>> front(torch.tensor([[5.0, 1.0], [float("nan"), -1.0]]))
        tensor([[2., 0., 1.],
                [0., 0., 0.]])
    """

    mean: Tensor
    std: Tensor
    numbers: Tensor
    source: Tensor
    category: Tensor

    def __init__(
        self, categories: Sequence[Sequence[str]], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        numbers = [place for place, names in enumerate(categories) if not names]
        pairs = [
            (place, number)
            for place, names in enumerate(categories)
            for number in range(len(names))
        ]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.int64))
        self.register_buffer("mean", torch.tensor([mean[place] for place in numbers]))
        self.register_buffer("std", torch.tensor([std[place] for place in numbers]))
        self.register_buffer(
            "source", torch.tensor([place for place, _ in pairs], dtype=torch.int64)
        )
        self.register_buffer("category", torch.tensor([float(number) for _, number in pairs]))

    def forward(self, rows: Tensor) -> Tensor:
        """The features."""
        numbers = (rows[:, self.numbers] - self.mean) / self.std
        numbers = torch.where(torch.isnan(numbers), torch.zeros_like(numbers), numbers)
        if not len(self.source):
            return numbers
        indicators = (rows[:, self.source] == self.category).float()
        return torch.cat([numbers, indicators], 1)

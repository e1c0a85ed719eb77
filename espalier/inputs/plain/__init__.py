"""Parts of kinds of input that need nothing of their own there."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput


@dataclass(frozen=True)
class Unchanged:
    """The views of a data set whose examples are used as they are.

    Attributes:
        seed: seed of the training.
    """

    seed: int
    count: int = 1

    @property
    def key(self) -> list[int]:
        """Empty: a view depends on nothing."""
        return []

    def apply(self, inputs: Tensor, index: Tensor, view: int) -> Tensor:
        """The inputs themselves."""
        del index, view
        return inputs


class PlainInput:
    """A kind of input whose networks bring no preprocessing along.

    Attributes:
        plural: word for examples in messages.
    """

    plural: str

    def network_arguments(self, facts: Any) -> dict[str, Any]:
        """None."""
        del facts
        return {}

    def model_files(self, shape: tuple[int, ...], facts: Any) -> dict[str, Any]:
        """None."""
        del shape, facts
        return {}

    def parts(self, example: NDArray[Any], facts: Any) -> list[str]:
        """None."""
        del example, facts
        return []

    def without(self, inputs: Tensor, part: int, facts: Any) -> Tensor:
        """The inputs themselves: they have no parts."""
        del part, facts
        return inputs

    def own_front(self, preprocessing: dict[str, Any], shape: tuple[int, ...]) -> nn.Module:
        """Refused.

        Raises:
            BadInput: always.
        """
        del shape
        raise BadInput(f"Expected no `input` for {self.plural}; found {preprocessing}.")

    def usual_preprocessings(
        self, preprocessing: dict[str, Any] | None, shape: tuple[int, ...]
    ) -> list[dict[str, Any]]:
        """None."""
        del preprocessing, shape
        return []

    def augmentations(
        self, facts: Any, *, examples: int, seed: int, count: int, active: bool
    ) -> Any:
        """None: a changed example is another one."""
        del facts, examples, count, active
        return Unchanged(seed)

"""The position of a training, which decides whether an epoch continues a live run."""

from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "espalier.live."  # of the tags; their names are in existing stores
_KEYS = ("epoch", "epochs", "step", "before")


@dataclass(frozen=True)
class Position:
    """Position in a training that may have several parts, such as a cycle of cuts; each part counts from 1.

    Example: two parts of 2 epochs with 10 steps each. After the first epoch of the second part the
    position is `Position(epoch=1, epochs=2, step=10, before=20)`, and the step shown in MLflow is
    20 + 10 = 30.

    Attributes:
        epoch: Last epoch of the current part.
        epochs: Number of epochs of the current part.
        step: Last optimizer step of the current part.
        before: Number of steps of all earlier parts.
    """

    epoch: int
    epochs: int
    step: int
    before: int = 0

    def follow(self, epoch: int, epochs: int, step: int) -> "Position | None":
        """The position after a further epoch.

        A later epoch of the same part continues the part; any epoch after the last one of a part
        begins the next part.

        Returns:
            The new position; None if the epoch continues nothing: the training began again.
        """
        same_part = epochs == self.epochs
        if same_part and epoch > self.epoch and step > self.step:
            return Position(epoch, epochs, step, self.before)
        if self.epoch == self.epochs:
            return Position(epoch, epochs, step, self.before + self.step)
        return None

    def tags(self) -> dict[str, str]:
        """The position as tags of a run."""
        return {f"{_PREFIX}{key}": str(getattr(self, key)) for key in _KEYS}

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> "Position | None":
        """Read the position from the tags of a run; None if a tag is missing or no number."""
        try:
            numbers = [int(tags[f"{_PREFIX}{key}"]) for key in _KEYS]
        except (KeyError, ValueError):
            return None
        return cls(*numbers)

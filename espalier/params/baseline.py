"""Entries of their parent's shape with new weights."""

from typing import Literal, Self

from pydantic import model_validator

from espalier.params.distill import Recovered


class Baseline(Recovered):
    """A network of the parent's shape with new weights: what a cut has to beat.

    It is taught as a recovery is. Without `epochs` in `finetune` it is trained for as many as the
    parent and its ancestors together, from the last new network on.
    """

    by: Literal["baseline"]

    @model_validator(mode="after")
    def _is_trained(self) -> Self:
        if self.finetune.get("epochs") == 0:
            raise ValueError(
                "Expected `finetune.epochs` above 0, because the weights of a baseline are random; found 0."
            )
        return self

"""Codebooks that a factor for each channel would destroy."""

from collections.abc import Iterable

from torch import nn

from espalier.errors import BadInput
from espalier.models.structure import shared_weights


def refuse_codebooks(network: nn.Module, scaled: Iterable[str], what: str) -> None:
    """Refuse layers that would be scaled channel by channel although their weights are shared.

    Args:
        network: network of the layers.
        scaled: names of the layers.
        what: operation, as the error names it.

    Raises:
        BadInput: if there is one.
    """
    with_codebook = {name.rpartition(".")[0] for name in shared_weights(network)}
    lost = with_codebook.intersection(scaled)
    if lost:
        raise BadInput(
            f"Expected {what} before weights are shared: each channel gets its own factor, and a codebook would be "
            f"lost; found shared weights in {min(lost)}."
        )

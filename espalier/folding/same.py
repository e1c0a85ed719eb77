"""What is folded computes what it did."""

import torch
from torch import Tensor, nn

from espalier.errors import BadInput

_AGREEMENT = (
    1e-3  # of the largest answer: float32 rounds otherwise, a wrong fold is off by much more
)


@torch.no_grad()
def refuse_others(network: nn.Module, folded: nn.Module, example: Tensor) -> None:
    """Stop if a folded network answers otherwise than the whole one: its forward pass may do more than its layers do.

    Args:
        network: Before.
        folded: After.
        example: Images of the shape, type and device that both work on; their content does not matter.

    Raises:
        BadInput: If the answers to random images differ, or the folded network does not run.
    """
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0))
    images = noise.to(example)
    modes = {module: module.training for module in network.modules()}
    try:
        wanted = network.eval()(images)
        found = folded(images)
    except (AttributeError, RuntimeError, TypeError) as error:
        raise BadInput(
            f"A folded network should still run. Found: {str(error).splitlines()[0]}"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    for one, other in zip(_tensors(wanted), _tensors(found), strict=True):
        difference = float((one - other).abs().max() / one.abs().max().clamp(min=1e-30))
        if not difference <= _AGREEMENT:
            raise BadInput(
                f"A folded network should answer as before. Found a difference of {difference:.2g} of the largest "
                "answer: its forward pass may use a layer otherwise than by calling it."
            )


def _tensors(answer: object) -> list[Tensor]:
    if isinstance(answer, Tensor):
        return [answer]
    values = answer.values() if isinstance(answer, dict) else answer
    assert isinstance(values, list | tuple | type({}.values()))
    return [tensor for value in values for tensor in _tensors(value)]

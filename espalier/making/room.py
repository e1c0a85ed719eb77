"""Estimates of the files that a training writes, from its network and its recipe."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor, nn

from espalier.distillation.bank import Bank
from espalier.space import Need, require_space, size_of_files
from espalier.training.recipe import Recipe

_AT_ONCE = 2  # checkpoints: the former one goes when the new one is complete
_HALF = 2  # bytes of an element in half precision


def require_room(
    network: nn.Module, objective: object, recipe: Recipe, checkpoints: Path, model: Path
) -> None:
    """Refuse to begin a training whose checkpoints, or whose model, the disk cannot hold.

    Args:
        network: network that is trained.
        objective: its loss; a module has parameters that are trained too.
        recipe: recipe, which says how many copies of the weights a checkpoint holds.
        checkpoints: folder of the checkpoints.
        model: folder of the finished model.

    Raises:
        TryAgain: if the disk cannot.
    """
    checkpoint = checkpoint_bytes(network, objective, recipe)
    weights, present = _bytes(network.state_dict().values()), size_of_files(checkpoints)
    both = Need(checkpoints, _AT_ONCE * checkpoint - present, "checkpoints")
    require_space([both])
    last = Need(checkpoints, checkpoint - present, "a checkpoint")
    # the deployed file holds the weights once more
    require_space([last, Need(model.parent, 2 * weights, "the model")])


def checkpoint_bytes(network: nn.Module, objective: object, recipe: Recipe) -> int:
    """Bytes of a checkpoint: weights, states of the optimizer, and further copies of the weights."""
    companion = objective if isinstance(objective, nn.Module) else nn.Module()
    states = 2 if recipe.optimizer == "adamw" else int(recipe.momentum > 0)
    copies = 1 + (recipe.ema > 0) + (recipe.patience > 0)
    trained = [one for one in (*network.parameters(), *companion.parameters()) if one.requires_grad]
    weights, own = _bytes(network.state_dict().values()), _bytes(companion.state_dict().values())
    return copies * weights + own + states * _bytes(trained)


def require_bank_room(banks: Sequence[Bank], examples: int, width: int, recipe: Recipe) -> None:
    """Refuse to begin a training whose teachers' outputs the disk cannot hold.

    Args:
        banks: outputs of each teacher.
        examples: number of training examples.
        width: outputs for each example.
        recipe: recipe, which says how many views the training sees.

    Raises:
        TryAgain: if the disk cannot.
    """
    views = min(recipe.epochs, recipe.views if recipe.augment else 1)
    size = _HALF * examples * width
    require_space(
        Need(bank.folder, size * bank.missing(views), "the outputs of the teachers")
        for bank in banks
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)

"""The number of processes that train a model together."""

from collections.abc import Callable, Mapping
from typing import Any

from espalier.errors import BadInput
from espalier.params.entry import BaseEntry
from espalier.training.recipe import Recipe


def refuse_useless_processes(
    entries: Mapping[str, BaseEntry], recipe_of: Callable[[dict[str, Any]], Recipe]
) -> None:
    """Refuse several processes where nothing is trained, or where their parts of a batch differ.

    Args:
        entries: entries by the names of their models.
        recipe_of: the recipe of a training, from the keys that the entry overrides.

    Raises:
        BadInput: if an entry has such `processes`.
    """
    for name, entry in entries.items():
        if entry.processes > 1:
            _refuse(name, entry.processes, [recipe_of(keys) for keys in entry.trainings])


def _refuse(name: str, processes: int, recipes: list[Recipe]) -> None:
    sizes = [recipe.batch_size for recipe in recipes if recipe.epochs]
    if not sizes:
        raise BadInput(
            f"Expected `processes` of {name} only where epochs are trained; found `processes: "
            f"{processes}`, and no epochs."
        )
    for size in sizes:
        if size % processes:
            raise BadInput(
                f"Expected `batch_size` of {name} to be a multiple of `processes`, so that each trains "
                f"on an equal part of a batch; found `batch_size: {size}` and `processes: {processes}`."
            )

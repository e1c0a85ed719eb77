"""The objective of losses between layers of an entry's network and of its teacher."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from espalier.distillation.features import (
    FeatureTerm,
    FromFeatures,
    Layer,
    OwnFront,
    default_pairs,
    has_positions,
    layers,
)
from espalier.distillation.losses import FEATURES
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.teachers import own_front
from espalier.params import Taught
from espalier.params.losses import (
    AnyFeatureLoss,
    AnyLoss,
    Attention,
    Hints,
    OwnLoss,
    Relational,
    Review,
    Similarity,
)
from espalier.seeds import seed_all
from espalier.training.device import autocast
from espalier.training.loss_inputs import Objective

# keys of a loss that the weighted sum uses; all others are arguments of the loss function
_OF_THE_SUM = ("loss", "weight", "head", "classes", "focus", "class_weights", "pairs")


def from_features(
    job: Job[Taught], network: nn.Module, teaching: str, losses: Sequence[AnyFeatureLoss]
) -> Objective:
    """The objective of losses between layers.

    Raises:
        BadInput: if the inputs have no positions in two axes, or the networks no such layers.
    """
    _refuse_without_positions(job)
    device = job.processes.device
    example, teacher = job.data.front_of_zeros(), job.project.load(teaching)
    front = own_front(job, teaching)
    of_teacher = OwnFront(front, front(job.data.zeros(2))) if front else None
    network.to(device)
    student_layers = layers(network, example)
    teacher_layers = layers(teacher, of_teacher.example if of_teacher else example)
    terms = [_term(loss, student_layers, teacher_layers) for loss in losses]
    seed_all(job.params.seed, "adapters")
    precision = partial(autocast, job.recipe, device)
    return FromFeatures(
        network,
        teacher,
        terms,
        example,
        own_front=of_teacher,
        precision=precision,
    )


def loss_settings(loss: AnyLoss) -> dict[str, Any]:
    """The arguments of the loss function."""
    if isinstance(loss, OwnLoss):
        return dict(loss.settings)
    names = [name for name in type(loss).model_fields if name not in _OF_THE_SUM]
    return {name: getattr(loss, name) for name in names}


def _refuse_without_positions(job: Job[Taught]) -> None:
    """Refuse inputs without channels and two axes of positions.

    Raises:
        BadInput: if the inputs are others.
    """
    if not has_positions(job.data.input_shape):
        plural = job.data.dataset.input.plural
        raise BadInput(
            f"Expected losses between layers of {job.name} with inputs of channels and two axes of "
            f"positions, as images and clips have; found {plural}."
        )


def _term(
    loss: AnyFeatureLoss, student_layers: list[Layer], teacher_layers: list[Layer]
) -> FeatureTerm:
    """The term of a loss, with its pairs of layers."""
    pairs = loss.pairs or _default(loss, default_pairs(student_layers, teacher_layers))
    if isinstance(loss, Review):
        pairs = _by_depth(pairs, student_layers)
    if isinstance(loss, Attention):
        _check_positions([*pairs, *pairs.values()], [*student_layers, *teacher_layers])
    return FeatureTerm(
        FEATURES[loss.loss],
        pairs,
        loss.weight,
        adapted=isinstance(loss, Hints),
        settings=loss_settings(loss),
        fused=isinstance(loss, Review),
    )


def _default(loss: AnyFeatureLoss, pairs: dict[str, str]) -> dict[str, str]:
    """The pairs of a loss that names none: all of them, or the last one for losses between examples.

    Raises:
        BadInput: if there is no pair.
    """
    if not pairs:
        raise BadInput(
            "Expected networks to have layers before the last one to be paired; found none in one "
            "of them."
        )
    last = dict(list(pairs.items())[-1:])
    return last if isinstance(loss, Similarity | Relational) else pairs


def _by_depth(pairs: dict[str, str], found: Sequence[Layer]) -> dict[str, str]:
    """The pairs of a fusion, in the order in which the student's layers end.

    Raises:
        BadInput: if there is one pair only, or the order of a layer is unknown.
    """
    order = {layer.name: place for place, layer in enumerate(found)}
    unknown = [name for name in pairs if name not in order]
    if unknown:
        raise BadInput(
            f"Expected `pairs` of `review` to name layers of the student: {', '.join(order)}; found "
            f"{unknown[0]!r}."
        )
    if len(pairs) == 1:
        raise BadInput(
            "Expected `review` to fuse two layers or more; found one pair of layers. Name others "
            "under `pairs`."
        )
    return {name: pairs[name] for name in sorted(pairs, key=order.__getitem__)}


def _check_positions(names: Sequence[str], found: Sequence[Layer]) -> None:
    """Refuse attention maps of layers without positions.

    Raises:
        BadInput: if one of the named layers has a single position.
    """
    for layer in found:
        if layer.name in names and max(layer.size) == 1:
            raise BadInput(
                f"Expected attention to be asked of layers with positions; found {layer.name!r}, "
                "which has none."
            )

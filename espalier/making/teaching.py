"""The objective that an entry asks for: its recipe, with the answers of its teachers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from espalier import files
from espalier.data.prepared import data_hash, open_split
from espalier.distillation.bank import Bank
from espalier.distillation.features import FeatureTerm, FromFeatures, Layer, default_pairs, layers
from espalier.distillation.losses import FEATURES, LOGITS
from espalier.distillation.modifiers import balanced
from espalier.distillation.objectives import WeightedSum, from_labels, from_logits
from espalier.distillation.settings import Ramp
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.params import Taught
from espalier.params.losses import (
    AnyFeatureLoss,
    AnyLogitLoss,
    AnyLoss,
    Attention,
    ClassWeights,
    Decoupled,
    Hints,
    Labels,
    Relational,
    Similarity,
)
from espalier.paths import PREPARED, STATE
from espalier.seeds import seed_all
from espalier.training.device import autocast
from espalier.training.engine import Objective
from espalier.training.scoring import Inference

_OF_THE_SUM = (
    "loss",
    "weight",
    "classes",
    "focus",
    "class_weights",
    "pairs",
)  # the other keys are those of the loss


def objective_from_teacher(
    job: Job, teacher: str, network: nn.Module, *, inside: bool = True
) -> Objective:
    """The weighted sum of the losses of a job's entry.

    Args:
        job: Its entry names the losses, and the teachers if they are others.
        teacher: Who teaches otherwise.
        network: Who is taught.
        inside: Whether losses between layers count; where nothing else is asked for, the labels
            stand for them.

    Raises:
        BadInput: If a loss names classes or layers that there are not.
    """
    entry = job.entry
    assert isinstance(entry, Taught)
    names = entry.teachers or (teacher,)
    banks = [bank_of(job, name) for name in names]
    outside = [loss for loss in entry.terms if not isinstance(loss, AnyFeatureLoss) and loss.weight]
    between = [loss for loss in entry.terms if isinstance(loss, AnyFeatureLoss) and loss.weight]
    terms: list[tuple[float | Ramp, Objective]] = [
        (loss.weight, _objective(job, loss, banks, entry)) for loss in outside
    ]
    if between and inside:
        terms.append((1.0, _from_features(job, network, job.load(names[0]), between)))
    return WeightedSum(terms or [(1.0, job.from_labels())])


def example_of(job: Job) -> Tensor:
    """Two stored inputs of zeros, as networks see them."""
    example: Tensor = job.front(job.dataset.zeros(2).to(job.team.device))
    return example


def bank_of(job: Job, teacher: str) -> Bank:
    """A teacher's answers, named by all that they depend on, so that every student and prune cycle shares them."""
    views = job.views
    depends = {
        "teacher": job.weights_hash(teacher),
        "data": data_hash(job.root / PREPARED),
        "views": views.key,
        "machine": [job.inputs["device"], job.inputs["versions"]["torch"], job.recipe.threads],
    }
    scoring = Inference(job.train, job.front)
    held: list[nn.Module] = []  # loaded when the first answer is missing

    def answer(view: int) -> Tensor:
        if not held:
            held.append(job.load(teacher))
        return scoring.outputs(held[0], lambda images, index: views.apply(images, index, view))[0]

    return Bank(job.root / STATE / "bank" / files.digest(depends)[:32], answer)


def _objective(
    job: Job, loss: Labels | AnyLogitLoss, banks: Sequence[Bank], entry: Taught
) -> Objective:
    weights = _class_weights(job, getattr(loss, "class_weights", None))
    if isinstance(loss, Labels):
        return from_labels(job.recipe.label_smoothing, class_weights=weights, focus=loss.focus)
    settings = _settings(loss)
    classes = _numbers(job, getattr(loss, "classes", None))
    if weights is not None:
        settings["class_weights"] = weights if classes is None else weights[classes]
    return from_logits(
        LOGITS[loss.loss],
        banks,
        combine=entry.combine,
        classes=classes,
        focus=loss.focus,
        labelled=isinstance(loss, Decoupled),
        **settings,
    )


def _settings(loss: AnyLoss) -> dict[str, Any]:
    return {
        name: getattr(loss, name) for name in type(loss).model_fields if name not in _OF_THE_SUM
    }


def _from_features(
    job: Job, network: nn.Module, teacher: nn.Module, losses: Sequence[AnyFeatureLoss]
) -> Objective:
    example = example_of(job)
    network.to(job.team.device)
    ours, theirs = layers(network, example), layers(teacher, example)
    terms = []
    for loss in losses:
        pairs = loss.pairs or _default(loss, default_pairs(ours, theirs))
        if isinstance(loss, Attention):
            _check_places([*pairs, *pairs.values()], [*ours, *theirs])
        terms.append(
            FeatureTerm(
                FEATURES[loss.loss], pairs, loss.weight, isinstance(loss, Hints), _settings(loss)
            )
        )
    seed_all(job.params.seed, "adapters")
    return FromFeatures(
        network, teacher, terms, example, precision=partial(autocast, job.recipe, job.team.device)
    )


def _default(loss: AnyFeatureLoss, pairs: dict[str, str]) -> dict[str, str]:
    """The pairs of a loss that names none.

    Raises:
        BadInput: If there are none.
    """
    if not pairs:
        raise BadInput(
            "Expected networks to have layers before the last one to be paired; found none in one "
            "of them."
        )
    return dict(list(pairs.items())[-1:]) if isinstance(loss, Similarity | Relational) else pairs


def _check_places(names: Sequence[str], found: Sequence[Layer]) -> None:
    """Stop before attention is asked of layers that have nothing to attend to.

    Raises:
        BadInput: If there is such a layer.
    """
    for layer in found:
        if layer.name in names and max(layer.size) == 1:
            raise BadInput(
                f"Expected attention to be asked of layers with places; found {layer.name!r}, "
                "which has none."
            )


def _class_weights(job: Job, given: ClassWeights | None) -> Tensor | None:
    """(classes,) on the device.

    Raises:
        BadInput: If there is not one for each class.
    """
    if given is None:
        return None
    classes = len(job.dataset.classes)
    if given == "balanced":
        counts = torch.bincount(open_split(job.root / PREPARED, "train").targets, minlength=classes)
        return balanced(counts).to(job.team.device)
    if len(given) != classes:
        raise BadInput(
            f"Expected `class_weights` to be {classes} numbers, one a class; found {len(given)}."
        )
    return torch.tensor(given, dtype=torch.float32, device=job.team.device)


def _numbers(job: Job, classes: tuple[int | str, ...] | None) -> list[int] | None:
    """The numbers of classes that are given by numbers or names.

    Raises:
        BadInput: If there is no class of a name.
    """
    names = job.dataset.classes
    for one in classes or ():
        if isinstance(one, str) and one not in names:
            raise BadInput(
                f"Expected `classes` to be numbers, or names among {', '.join(names)}; found "
                f"{one!r}."
            )
    return (
        None
        if classes is None
        else [names.index(one) if isinstance(one, str) else one for one in classes]
    )

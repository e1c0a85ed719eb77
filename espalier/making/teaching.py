"""The objective of an entry: the weighted sum of its losses, against labels and teachers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from espalier import files
from espalier.distillation.bank import Bank, TeacherOutputs
from espalier.distillation.features import (
    FeatureTerm,
    FromFeatures,
    Layer,
    OwnFront,
    default_pairs,
    layers,
)
from espalier.distillation.heads import OfColumns, TeacherColumns, soft_targets_of
from espalier.distillation.losses import FEATURES
from espalier.distillation.mutual import Mutual
from espalier.distillation.objectives import WeightedSum, from_labels, from_logits
from espalier.distillation.settings import Ramp
from espalier.errors import BadInput
from espalier.inputs import Front
from espalier.making.job import Job
from espalier.making.questions import (
    Question,
    class_numbers,
    loss_function,
    question_of,
    questions_of,
    weights_of_classes,
)
from espalier.models.build import build
from espalier.params import Taught
from espalier.params.losses import (
    AnyFeatureLoss,
    AnyLogitLoss,
    AnyLoss,
    Attention,
    Decoupled,
    Hints,
    Labels,
    MutualLoss,
    OwnLoss,
    Relational,
    Similarity,
)
from espalier.seeds import seed_all
from espalier.training.device import autocast
from espalier.training.loss_inputs import Objective
from espalier.training.scoring import Inference

_MAPPED = 3  # dimensions of an example with channels and two axes of positions
# keys of a loss that the weighted sum uses; all others are arguments of the loss function
_OF_THE_SUM = ("loss", "weight", "head", "classes", "focus", "class_weights", "pairs")


def objective_of(job: Job[Taught], network: nn.Module, *, feature_losses: bool = True) -> Objective:
    """The weighted sum of the losses of an entry.

    Args:
        job: job of the entry.
        network: student.
        feature_losses: whether to include losses between layers. If nothing is left without them,
            the labels are used.

    Raises:
        BadInput: if a loss names classes or layers that do not exist.
    """
    entry = job.entry
    banks = [bank_of(job, name) for name in entry.teaching]
    terms: list[tuple[float | Ramp, Objective]] = []
    between_layers: list[AnyFeatureLoss] = []
    for loss in entry.terms:
        if not loss.weight:
            continue
        if isinstance(loss, AnyFeatureLoss):
            between_layers.append(loss)
        elif isinstance(loss, MutualLoss):
            terms.append((loss.weight, _mutual(job, loss)))
        else:
            terms.append((loss.weight, _from_outputs(job, loss, banks)))
    if between_layers and feature_losses:
        terms.append((1.0, _from_features(job, network, entry.teaching[0], between_layers)))
    if not terms:
        terms.append((1.0, from_labels(job.recipe.label_smoothing, task=job.data.task)))
    return WeightedSum(terms)


def bank_of(job: Job[Taught], teacher: str) -> Bank:
    """The outputs of a teacher, in a folder named by a hash of everything they depend on.

    All students and prune cycles that depend on the same values share the folder.
    """
    data, augmentations = job.data, job.data.augmentations
    depends: dict[str, Any] = {
        "teacher": job.project.identity(teacher),
        "data": data.version,
        "views": augmentations.key,
        "machine": [job.inputs["device"], job.inputs["versions"]["torch"], job.recipe.threads],
    }
    if data.decoder_versions:
        depends["decoders"] = data.decoder_versions
    inference = Inference(data.train, _own_front(job, teacher) or data.front)
    loaded: list[nn.Module] = []  # loaded when the first output is missing

    def outputs(view: int) -> Tensor:
        if not loaded:
            loaded.append(job.project.load(teacher))
        augment = partial(_augment, augmentations, view)
        return inference.outputs(loaded[0], augment, view=view)[0]

    return Bank(job.project.state("bank") / files.digest(depends)[:32], outputs)


def _own_front(job: Job[Taught], teacher: str) -> Front | None:
    """The front of a teacher that sees its inputs otherwise than the student; None if it does not."""
    preprocessing = job.project.architecture(teacher).preprocessing
    if preprocessing == job.data.preprocessing:
        return None
    return job.data.dataset.front(job.processes.device, preprocessing)


def _augment(augmentations: Any, view: int, inputs: Tensor, index: Tensor) -> Tensor:
    augmented: Tensor = augmentations.apply(inputs, index, view)
    return augmented


def _from_outputs(
    job: Job[Taught], loss: Labels | AnyLogitLoss, banks: Sequence[Bank]
) -> Objective:
    """The objective of a loss between outputs; of several heads the weighted sum of theirs."""
    if loss.head is None:
        _refuse_class_keys(question_of(job), loss)
    terms: list[tuple[float | Ramp, Objective]] = []
    for question in questions_of(job, loss.head):
        head = question.head
        if head is None:
            return _of_question(question, loss, banks)
        columns = [TeacherColumns(bank, head) for bank in banks]
        terms.append((head.weight, OfColumns(head, _of_question(question, loss, columns))))
    return WeightedSum(terms)


def _refuse_class_keys(question: Question, loss: Labels | AnyLogitLoss) -> None:
    """Refuse the keys of classes where the task has none."""
    entry: Taught = question.job.entry
    keys = {
        "`class_weights`": loss.weights_of_classes,
        "`focus`": loss.focus,
        "`classes`": loss.taught_classes,
        "`combine: confidence`": entry.combine == "confidence" and len(entry.teaching) > 1,
    }
    for key, value in keys.items():
        if value:
            question.refuse_without_classes(key)


def _of_question(
    question: Question, loss: Labels | AnyLogitLoss, banks: Sequence[TeacherOutputs]
) -> Objective:
    """The objective of a loss between the outputs of one task."""
    job: Job[Taught] = question.job
    _refuse_class_keys(question, loss)
    weights = weights_of_classes(question, loss.weights_of_classes)
    if isinstance(loss, Labels):
        smoothing, task = job.recipe.label_smoothing, question.task
        return from_labels(smoothing, class_weights=weights, focus=loss.focus, task=task)
    settings = _settings(loss)
    classes = class_numbers(question, loss.taught_classes)
    if weights is not None:
        settings["class_weights"] = weights if classes is None else weights[classes]
    return from_logits(
        loss_function(question, loss),
        banks,
        combine=job.entry.combine,
        classes=classes,
        focus=loss.focus,
        labelled=isinstance(loss, Decoupled),
        **settings,
    )


def _mutual(job: Job[Taught], loss: MutualLoss) -> Mutual:
    """The objective of mutual learning, with a new peer."""
    seed_all(job.params.seed, "peer", loss.model)
    data = job.data
    peer = build(
        loss.model,
        classes=data.task.width(data.dataset.classes),
        shape=data.input_shape,
        arguments=data.dataset.network_arguments() | loss.arguments,
        trusted=job.params.trusted,
    )
    between = soft_targets_of(data.task, loss.temperature)
    return Mutual(peer.to(job.processes.device), between, data.task)


def _settings(loss: AnyLoss) -> dict[str, Any]:
    """The arguments of the loss function."""
    if isinstance(loss, OwnLoss):
        return dict(loss.settings)
    names = [name for name in type(loss).model_fields if name not in _OF_THE_SUM]
    return {name: getattr(loss, name) for name in names}


def _from_features(
    job: Job[Taught], network: nn.Module, teaching: str, losses: Sequence[AnyFeatureLoss]
) -> Objective:
    """The objective of losses between layers."""
    device = job.processes.device
    if len(job.data.input_shape) != _MAPPED:
        plural = job.data.dataset.input.plural
        raise BadInput(
            f"Expected losses between layers of {job.name} with inputs of channels and two axes of "
            f"positions, as images and clips have; found {plural}."
        )
    example, teacher = job.data.front_of_zeros(), job.project.load(teaching)
    front = _own_front(job, teaching)
    own_front = OwnFront(front, front(job.data.zeros(2))) if front else None
    network.to(device)
    student_layers = layers(network, example)
    teacher_layers = layers(teacher, own_front.example if own_front else example)
    defaults = default_pairs(student_layers, teacher_layers)
    terms = []
    for loss in losses:
        pairs = loss.pairs or _default(loss, defaults)
        if isinstance(loss, Attention):
            _check_positions([*pairs, *pairs.values()], [*student_layers, *teacher_layers])
        function, adapted = FEATURES[loss.loss], isinstance(loss, Hints)
        terms.append(
            FeatureTerm(
                function,
                pairs,
                loss.weight,
                adapted,
                _settings(loss),
            )
        )
    seed_all(job.params.seed, "adapters")
    precision = partial(autocast, job.recipe, device)
    return FromFeatures(
        network,
        teacher,
        terms,
        example,
        own_front=own_front,
        precision=precision,
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

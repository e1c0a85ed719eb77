"""The objective of an entry: the weighted sum of its losses, against labels and teachers."""

import warnings
from collections.abc import Sequence

from torch import nn

from espalier.distillation.bank import Bank, TeacherOutputs
from espalier.distillation.heads import OfColumns, TeacherColumns, soft_targets_of
from espalier.distillation.mutual import Mutual
from espalier.distillation.objectives import WeightedSum, from_labels, from_logits
from espalier.distillation.settings import Ramp
from espalier.errors import Notice
from espalier.making.between_layers import from_features, loss_settings
from espalier.making.job import Job
from espalier.making.questions import (
    Question,
    class_numbers,
    loss_function,
    question_of,
    questions_of,
    weights_of_classes,
)
from espalier.making.room import require_bank_room
from espalier.making.teachers import bank_of
from espalier.models.build import build
from espalier.params import Taught
from espalier.params.losses import (
    AnyFeatureLoss,
    AnyLogitLoss,
    Decoupled,
    Labels,
    MutualLoss,
)
from espalier.prediction import Heads
from espalier.seeds import seed_all
from espalier.training.loss_inputs import Objective


def objective_of(job: Job[Taught], network: nn.Module, *, feature_losses: bool = True) -> Objective:
    """The weighted sum of the losses of an entry.

    Args:
        job: job of the entry.
        network: student.
        feature_losses: whether to include losses between layers. If nothing is left without them,
            the labels are used.

    Raises:
        BadInput: if a loss names classes or layers that do not exist.
        TryAgain: if the disk has too little space for the outputs of the teachers.
    """
    entry = job.entry
    if feature_losses:
        _warn_of_untaught_heads(job)
    banks = [bank_of(job, name) for name in entry.teaching]
    width = job.data.task.width(job.data.dataset.classes)
    require_bank_room(banks, len(job.data.train), width, job.recipe)
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
        terms.append((1.0, from_features(job, network, entry.teaching[0], between_layers)))
    if not terms:
        terms.append((1.0, from_labels(job.recipe.label_smoothing, task=job.data.task)))
    return WeightedSum(terms)


def _warn_of_untaught_heads(job: Job[Taught]) -> None:
    """Warn of each head that no loss reaches: its outputs stay what they were before the training."""
    task, losses = job.data.task, [loss for loss in job.entry.terms if loss.weight]
    between_outputs = [one for one in losses if not isinstance(one, AnyFeatureLoss)]
    if not isinstance(task, Heads) or not losses:
        return
    reached = {getattr(one, "head", None) for one in between_outputs}  # None: of all heads
    untaught = [head.name for head in task.heads if not reached & {None, head.name}]
    if untaught:
        warnings.warn(
            f"No loss of {job.name} reaches {', '.join(untaught)}, so these outputs are not trained: a "
            "loss without `head` is of all heads.",
            Notice,
            stacklevel=3,
        )


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
    settings = loss_settings(loss)
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

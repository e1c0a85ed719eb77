"""`by: import`: a network that was trained elsewhere."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from espalier.data.names import VALIDATION
from espalier.distillation.objectives import from_labels
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import new_network
from espalier.making.onnx_file import read_program
from espalier.making.result import OperationResult
from espalier.measures.macs import count_macs
from espalier.models.trained import Weights, fit_weights, published_weights, read_weights
from espalier.params.imported import Imported
from espalier.training.device import to_device
from espalier.training.scoring import Inference

if TYPE_CHECKING:
    from espalier.judging import Interval


@dataclass(frozen=True)
class ImportedNetwork:
    """A network with trained weights, before any further training.

    Attributes:
        network: network, on the device.
        score: mean score on validation, with its 95 % interval; of a classification its accuracy.
        notes: sentences about what was chosen, removed or left out.
    """

    network: nn.Module
    score: "Interval"
    notes: tuple[str, ...]

    def is_as_expected(self, expected: float | None) -> bool:
        """Whether the score is at least the expected one, or below it by chance alone.

        Validation is a sample: the network is worse if the interval lies below.
        """
        return expected is None or self.score.high >= expected


def import_network(job: Job[Imported]) -> OperationResult:
    """The network of a factory with trained weights, trained further if the entry has `epochs`.

    Raises:
        BadInput: if the weights do not fit, or the network is worse than `expect` says.
    """
    imported = fitted(job)
    if not imported.is_as_expected(job.entry.expect):
        _refuse(job, imported)
    network, headline = imported.network, job.data.task.headline.name
    history = job.fit(network, from_labels(job.recipe.label_smoothing, task=job.data.task))
    return OperationResult(
        network,
        count_macs(network, job.data.example().cpu()),
        history,
        metrics={f"imported_{headline}": imported.score.value},
        notes=imported.notes,
    )


def fitted(job: Job[Imported]) -> ImportedNetwork:
    """The network of the entry with its weights, measured on validation.

    Raises:
        BadInput: if the weights cannot be read, or do not fit the network.
    """
    program = read_program(job) if job.entry.onnx_file else None
    weights = Weights(program.tensors, program.notes) if program else _weights(job)
    network = new_network(job, program)
    notes = fit_weights(network, weights, new_head=job.entry.new_head)
    network = to_device(network, job.processes.device)
    measured = _score(job, network, job.data.preprocessing)
    return ImportedNetwork(network, measured, (*weights.notes, *notes))


def better_preprocessing(
    job: Job[Imported], imported: ImportedNetwork
) -> tuple[dict[str, Any], float] | None:
    """The usual preprocessing with which a network has the highest score, and that score.

    Only those are tried that keep the shape of the inputs.

    Returns:
        None if the entry's own preprocessing is not significantly worse.
    """
    dataset = job.data.dataset
    usual = dataset.input.usual_preprocessings(job.data.preprocessing, dataset.shape)
    found = [(settings, _score(job, imported.network, settings)) for settings in usual]
    settings, best = max(found, key=lambda one: one[1].value)
    return (settings, best.value) if best.low > imported.score.high else None


def _weights(job: Job[Imported]) -> Weights:
    entry = job.entry
    if entry.is_published:
        return published_weights(entry.model, entry.weights)
    return read_weights(job.project.root / entry.weights, entry.key)


def _score(
    job: Job[Imported], network: nn.Module, preprocessing: dict[str, Any] | None
) -> "Interval":
    # here: it imports scipy's statistics, and no other operation judges
    from espalier.judging import mean_score

    front = job.data.dataset.front(job.processes.device, preprocessing)
    validation = Inference(job.data.open(VALIDATION), front, task=job.data.task)
    return mean_score(validation.scores(network))


def _refuse(job: Job[Imported], imported: ImportedNetwork) -> None:
    """Refuse a network that is worse than it is known to be; the usual reason is its preprocessing.

    Raises:
        BadInput: always.
    """
    better = better_preprocessing(job, imported)
    value, low, high = imported.score
    way_out = (
        f"With `input: {better[0]}` it is right about {better[1]:.2%}."
        if better
        else "The usual reason is another preprocessing, which `input` sets, or another order of the "
        f"classes than {', '.join(job.data.dataset.classes[:10])}."
    )
    raise BadInput(
        f"Expected {job.name} to be right about {job.entry.expect:.2%} of the validation examples, "
        f"as `expect` says; found {value:.2%} ({low:.2%}..{high:.2%}). {way_out}"
    )

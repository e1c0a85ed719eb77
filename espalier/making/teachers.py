"""The teachers of an entry: their outputs, and the inputs that they see."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from espalier import files
from espalier.distillation.bank import Bank
from espalier.errors import BadInput
from espalier.inputs import Front
from espalier.making.job import Job
from espalier.making.own_code import own_code
from espalier.params import Taught
from espalier.paths import ARCHITECTURE, DEPLOYED
from espalier.prediction import Concepts
from espalier.runtimes.as_network import BATCH, DeployedNetwork
from espalier.training.scoring import Inference


def bank_of(job: Job[Taught], teacher: str) -> Bank:
    """The outputs of a teacher, in a folder named by a hash of everything they depend on.

    All students and prune cycles that depend on the same values share the folder.
    """
    data, augmentations = job.data, job.data.augmentations
    depends: dict[str, Any] = {
        "teacher": job.project.identity(teacher),
        "architecture": job.project.hashes(teacher)[ARCHITECTURE],
        "data": data.version,
        "views": augmentations.key,
        "machine": [job.inputs["device"], job.inputs["versions"]["torch"], job.recipe.threads],
    }
    code = own_code([job.project.architecture(teacher).factory])
    if code:
        depends["code"] = code
    if data.decoder_versions:
        depends["decoders"] = data.decoder_versions
    concepts = _concepts(job, teacher)
    if job.data.concepts is not None:  # other examples, and other outputs
        depends["classes"] = job.data.concepts.as_json()
    by_file = _answers_by_file(job, teacher)
    if by_file:
        runtime = job.runtime
        depends["file"] = [job.project.hashes(teacher)[DEPLOYED], runtime.name, runtime.version]
    front = nn.Identity() if by_file else own_front(job, teacher) or data.front
    inference = Inference(data.train, front, BATCH if by_file else None)
    loaded: list[nn.Module] = []  # loaded when the first output is missing

    def outputs(view: int) -> Tensor:
        if not loaded:
            loaded.append(_deployed(job, teacher) if by_file else job.project.load(teacher))
        augment = partial(_augment, augmentations, view)
        answered = inference.outputs(loaded[0], augment, view=view, processes=job.processes)[0]
        return answered if concepts is None else concepts.logits(answered)

    return Bank(job.project.bank / files.digest(depends)[:32], outputs, job.processes)


def _answers_by_file(job: Job[Taught], teacher: str) -> bool:
    """Whether a teacher answers by its deployed file: it computes the same, and is faster on a processor.

    In integers, or with a readout, the file gives other values than the network.
    """
    on_processor = job.processes.device.type == "cpu"
    in_float = job.project.architecture(teacher).quantization is None
    return on_processor and in_float and job.data.task.readout() is None


def _deployed(job: Job[Taught], teacher: str) -> DeployedNetwork:
    """The deployed file of a teacher, open."""
    file = job.project.deployed(teacher)
    return DeployedNetwork(job.runtime.open(file, job.recipe.threads))


def _concepts(job: Job[Taught], teacher: str) -> Concepts | None:
    """The concepts that a teacher's outputs are summed to; None if they are the student's already.

    Raises:
        BadInput: if the teacher answers other classes than the student.
    """
    own = job.data.concepts
    theirs = job.project.architecture(teacher).concepts
    if theirs is None:
        return own
    if own is None or own.as_json() != theirs:
        raise BadInput(
            f"Expected the teachers of {job.name} to answer all classes of the data, or the same as "
            f"{job.name}; found {teacher!r}, which answers {', '.join(theirs)}."
        )
    return None


def own_front(job: Job[Taught], teacher: str) -> Front | None:
    """The front of a teacher that sees its inputs otherwise than the student; None if it does not."""
    preprocessing = job.project.architecture(teacher).preprocessing
    if preprocessing == job.data.preprocessing:
        return None
    return job.data.dataset.front(job.processes.device, preprocessing)


def _augment(augmentations: Any, view: int, inputs: Tensor, index: Tensor) -> Tensor:
    augmented: Tensor = augmentations.apply(inputs, index, view)
    return augmented

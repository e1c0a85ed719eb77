"""The teachers of an entry: their outputs, and the inputs that they see."""

from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

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
from espalier.training.device import autocast, trains_in_bfloat16
from espalier.training.scoring import Inference

_Way = Literal["file", "bfloat16", "float32"]


def bank_of(job: Job[Taught], teacher: str) -> Bank:
    """The outputs of a teacher, in a folder named by a hash of everything they depend on.

    All students and prune cycles that depend on the same values share the folder.
    """
    way, concepts = _way(job, teacher), _concepts(job, teacher)
    inference = _inference(job, teacher, way)
    loaded: list[nn.Module] = []  # loaded when the first output is missing

    def outputs(view: int) -> Tensor:
        if not loaded:
            loaded.append(_deployed(job, teacher) if way == "file" else job.project.load(teacher))
        augment = partial(_augment, job.data.augmentations, view)
        answered = inference.outputs(loaded[0], augment, view=view, processes=job.processes)[0]
        return answered if concepts is None else concepts.logits(answered)

    folder = files.digest(_dependencies(job, teacher, way))[:32]
    return Bank(job.project.bank / folder, outputs, job.processes)


def _dependencies(job: Job[Taught], teacher: str, way: _Way) -> dict[str, Any]:
    """Everything that the outputs of a teacher depend on."""
    data = job.data
    depends: dict[str, Any] = {
        "teacher": job.project.identity(teacher),
        "architecture": job.project.hashes(teacher)[ARCHITECTURE],
        "data": data.version,
        "views": data.augmentations.key,
        "machine": [job.inputs["device"], job.inputs["versions"]["torch"], job.recipe.threads],
    }
    code = own_code([job.project.architecture(teacher).factory])
    if code:
        depends["code"] = code
    if data.decoder_versions:
        depends["decoders"] = data.decoder_versions
    if data.concepts is not None:  # other examples, and other outputs
        depends["classes"] = data.concepts.as_json()
    if way == "bfloat16":
        depends["precision"] = way
    if way == "file":
        runtime = job.runtime
        depends["file"] = [job.project.hashes(teacher)[DEPLOYED], runtime.name, runtime.version]
    return depends


def _way(job: Job[Taught], teacher: str) -> _Way:
    """How a teacher computes: as its students are trained, and by its deployed file where that gives the same.

    In integers, or with a readout, the file gives other values than the network. A network in
    integers computes exactly.
    """
    device = job.processes.device
    if job.project.architecture(teacher).quantization is not None:
        return "float32"
    if trains_in_bfloat16(job.recipe, device):
        return "bfloat16"
    return "file" if device.type == "cpu" and job.data.task.readout() is None else "float32"


def _inference(job: Job[Taught], teacher: str, way: _Way) -> Inference:
    """The training examples as a teacher sees them."""
    if way == "file":
        return Inference(job.data.train, nn.Identity(), BATCH)
    front = own_front(job, teacher) or job.data.front
    in_training = partial(autocast, job.recipe, job.processes.device)
    precision = in_training if way == "bfloat16" else nullcontext
    return Inference(job.data.train, front, precision=precision)


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

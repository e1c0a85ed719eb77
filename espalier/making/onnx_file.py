"""The ONNX file of an entry, read for the project's data."""

from espalier.data.names import VALIDATION
from espalier.errors import BadInput
from espalier.export.agreement import check_agreement
from espalier.making.job import Job
from espalier.models.onnx_import import OnnxProgram, read_onnx
from espalier.params import BaseEntry

_COMPARED = 64  # validation examples on which the network is compared with its file

_ACTIVATIONS = {"classification": "Softmax", "multilabel": "Sigmoid"}  # of losses, by their task


def read_program(job: Job[BaseEntry]) -> OnnxProgram:
    """The content of the ONNX file of an entry, compared with the file on validation examples.

    With `head: new` its last layer has as many outputs as the data need.

    Raises:
        BadInput: if the file cannot be read, does not fit the data, or the network of torch gives other
            outputs.
    """
    path = job.project.root / str(job.entry.onnx_file)
    activation = _ACTIVATIONS.get(job.data.task.name)
    program = read_onnx(path, job.data.input_shape, activation=activation)
    examples, _ = job.data.stored(VALIDATION)
    inputs = job.data.deployed_front(examples[:_COMPARED])
    check_agreement(program.build(), program, path, inputs, job.runtime)
    classes = job.data.task.width(job.data.dataset.classes)
    if job.entry.new_head:
        return program.with_outputs(classes)
    if program.classes != classes:
        raise BadInput(
            f"Expected {path} to have {classes} outputs, as the data need; found {program.classes}. "
            "`head: new` with `epochs` replaces the last layer."
        )
    return program

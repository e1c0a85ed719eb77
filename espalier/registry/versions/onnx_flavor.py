"""The folder that MLflow serves: the files of the model folder, and the description of MLflow's ONNX flavor."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors import safe_open

from espalier.errors import BadInput
from espalier.inputs import INPUTS
from espalier.onnx_files import load_onnx
from espalier.paths import DEPLOYED, MANIFEST, PREPARED
from espalier.prediction import TASKS, task_named
from espalier.reading import reading
from espalier.registry.versions.model import Model

EXAMPLES = 4
_ELEMENTS = {
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.FLOAT: "float32",
}
_OUTPUTS = frozenset(task_named(name).output for name in TASKS)
_FREE = -1  # a dimension of any size, in MLflow's notation


class _Value(NamedTuple):
    """An input or output of the deployed file."""

    name: str
    kind: str
    shape: tuple[int, ...]


def write_flavor(
    model: Model, target: Path, *, run: str, logged: str, examples: NDArray[Any] | None
) -> None:
    """Write the folder of a version.

    It holds every file of the model folder, byte for byte, so that a downloaded version can be
    checked against the manifest and loaded as a model folder.

    Args:
        model: The model.
        target: The folder to write; must not exist.
        run: MLflow's id of the run.
        logged: MLflow's id of the logged model.
        examples: Example inputs (N, ...); None if there are no prepared data.

    Raises:
        BadInput: If inputs or outputs of the deployed file are not the expected ones, or the model
            has a file with the name of one of MLflow's.
    """
    import mlflow.onnx
    from mlflow.models import Model as Description

    deployed = load_onnx(model.folder / DEPLOYED)
    requirements = [f"{name}=={version(name)}" for name in ("onnx", "onnxruntime", "numpy")]
    mlflow.onnx.save_model(
        deployed,
        target,
        mlflow_model=Description(run_id=run, model_uuid=logged, model_id=logged),
        signature=_signature(model.folder / DEPLOYED, deployed, examples),
        input_example=examples,
        pip_requirements=requirements,
        # without it, loading warns on a machine without CUDA
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    _refuse_names_of_mlflow(model, target)
    # MLflow serializes model.onnx again, which can change its bytes: all files are copied over
    for name in (*model.hashes, MANIFEST):
        shutil.copyfile(model.folder / name, target / name)


def _refuse_names_of_mlflow(model: Model, target: Path) -> None:
    """Refuse files that would replace MLflow's description, which names code that MLflow runs."""
    for name in model.hashes:
        if name != DEPLOYED and (target / name).exists():
            raise BadInput(
                f"Expected {model.folder} to hold no file with a name that MLflow uses itself; "
                f"found {name}."
            )


def read_examples(root: Path) -> NDArray[Any] | None:
    """The first validation examples; None if the project has no prepared data."""
    path = root / PREPARED / "validation.safetensors"
    if not path.is_file():
        return None
    with reading(path, "a split of the prepared data"), safe_open(path, framework="np") as tensors:
        examples: NDArray[Any] = tensors.get_slice("images")[:EXAMPLES]
    return examples


def _signature(path: Path, deployed: onnx.ModelProto, examples: NDArray[Any] | None) -> Any:
    """MLflow's signature of the deployed file, after a check of its inputs and outputs."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    weights = {tensor.name for tensor in deployed.graph.initializer}
    inputs = [_value(one) for one in deployed.graph.input if one.name not in weights]
    outputs = [_value(one) for one in deployed.graph.output]
    _check_inputs(path, inputs, examples)
    _check_outputs(path, outputs)

    def schema(values: list[_Value]) -> Any:
        return Schema([TensorSpec(np.dtype(one.kind), one.shape, one.name) for one in values])

    return ModelSignature(inputs=schema(inputs), outputs=schema(outputs))


def _check_inputs(path: Path, inputs: list[_Value], examples: NDArray[Any] | None) -> None:
    kinds = {(name, str(kind.dtype).removeprefix("torch.")) for name, kind in INPUTS.items()}
    if len(inputs) != 1 or inputs[0][:2] not in kinds or not _is_batch(inputs[0].shape):
        expected = ", ".join(f"`{name}` {kind}" for name, kind in sorted(kinds))
        raise BadInput(
            f"Expected {path} to take one of {expected}, each (batch, ...); "
            f"found {_listed(inputs)} ({_FREE}: free)."
        )
    shape = inputs[0].shape[1:]
    if examples is not None and examples.shape[1:] != shape:
        raise BadInput(
            f"Expected {path} to take inputs of the shape of the prepared ones, "
            f"{examples.shape[1:]}; found {shape}."
        )


def _check_outputs(path: Path, outputs: list[_Value]) -> None:
    known = {(name, "float32") for name in _OUTPUTS}
    if len(outputs) != 1 or outputs[0][:2] not in known or len(outputs[0].shape) != 2:
        expected = " or ".join(f"`{name}`" for name in sorted(_OUTPUTS))
        raise BadInput(
            f"Expected {path} to give {expected}, float32 (batch, width); found {_listed(outputs)}."
        )


def _is_batch(shape: tuple[int, ...]) -> bool:
    """Whether a shape is (batch, ...) with a free batch and fixed sizes."""
    return len(shape) > 1 and shape[0] == _FREE and min(shape[1:]) >= 1


def _listed(values: list[_Value]) -> list[tuple[object, ...]]:
    return [tuple(value) for value in values]


def _value(value: onnx.ValueInfoProto) -> _Value:
    tensor = value.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else _FREE for size in tensor.shape.dim]
    kind = _ELEMENTS.get(tensor.elem_type)
    if kind is None:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return _Value(value.name, kind, tuple(sizes))

"""The folder that MLflow serves: the model folder itself, file by file, and beside it what the ONNX flavour needs."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors import safe_open

from espalier.errors import BadInput
from espalier.paths import MANIFEST, ONNX, PREPARED
from espalier.registry.versions.model import Model

EXAMPLES = 4
_ELEMENTS = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}


def write_flavour(
    model: Model, target: Path, *, run: str, logged: str, examples: NDArray[np.uint8] | None
) -> None:
    """Write the folder that a version consists of.

    Every file of the model folder comes with it, byte for byte: whoever downloads the version can check it against the
    manifest and load it as a model folder.

    Args:
        model: The model.
        target: Where to write; must not exist.
        run: The run it belongs to.
        logged: MLflow's id of the model.
        examples: Images that show what goes in, `(n, C, H, W)`.

    Raises:
        BadInput: If the deployed file takes or gives something else than it should.
    """
    import mlflow.onnx
    from mlflow.models import Model as Description

    deployed = onnx.load(model.folder / ONNX)
    mlflow.onnx.save_model(
        deployed,
        target,
        mlflow_model=Description(run_id=run, model_uuid=logged, model_id=logged),
        signature=_signature(model, deployed, examples),
        input_example=examples,
        pip_requirements=[f"{name}=={version(name)}" for name in ("onnx", "onnxruntime", "numpy")],
        onnx_execution_providers=[
            "CPUExecutionProvider"
        ],  # without it, a machine without CUDA warns
        save_as_external_data=False,
    )
    for name in (
        *model.hashes,
        MANIFEST,
    ):  # MLflow wrote model.onnx anew, which can change its bytes
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.folder / name, target / name)


def read_examples(root: Path) -> NDArray[np.uint8] | None:
    """The first validation images; none if there are no prepared data here."""
    path = root / PREPARED / "validation.safetensors"
    if not path.is_file():
        return None
    with safe_open(path, framework="np") as tensors:
        images: NDArray[np.uint8] = tensors.get_slice("images")[:EXAMPLES]
    return images


def _signature(model: Model, deployed: onnx.ModelProto, examples: NDArray[np.uint8] | None) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    weights = {tensor.name for tensor in deployed.graph.initializer}
    inputs = [_described(value) for value in deployed.graph.input if value.name not in weights]
    outputs = [_described(value) for value in deployed.graph.output]
    shape = inputs[0][2] if inputs else ()
    if (
        [i[:2] for i in inputs] != [("image", "uint8")]
        or len(shape) != 4
        or shape[0] != -1
        or min(shape[1:]) < 1
    ):
        raise BadInput(
            f"{model.folder / ONNX} should take `image`, uint8 (batch, C, H, W). Found {inputs} (-1: free)."
        )
    if [o[:2] for o in outputs] != [("logits", "float32")] or len(outputs[0][2]) != 2:
        raise BadInput(
            f"{model.folder / ONNX} should give `logits`, float32 (batch, classes). Found {outputs}."
        )
    if examples is not None and examples.shape[1:] != shape[1:]:
        raise BadInput(
            f"{model.folder / ONNX} should take images as the prepared ones, {examples.shape[1:]}. Found {shape[1:]}."
        )
    specs = [
        [TensorSpec(np.dtype(kind), sizes, name) for name, kind, sizes in side]
        for side in (inputs, outputs)
    ]
    return ModelSignature(inputs=Schema(specs[0]), outputs=Schema(specs[1]))


def _described(value: onnx.ValueInfoProto) -> tuple[str, str, tuple[int, ...]]:
    tensor = value.type.tensor_type
    sizes = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
    kind = _ELEMENTS.get(tensor.elem_type, onnx.TensorProto.DataType.Name(tensor.elem_type).lower())
    return value.name, kind, sizes

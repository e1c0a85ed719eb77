"""Reading of an ONNX file, with a sentence for each that cannot be taken."""

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from espalier.errors import BadInput, reason_of
from espalier.models.onnx_import.lowering import lower
from espalier.models.onnx_import.program import OnnxProgram
from espalier.models.onnx_import.values import Unsupported
from espalier.onnx_files import integer_operator, load_onnx
from espalier.reading import reading

_WAYS_OUT = (
    "Files of torch.onnx.export(..., dynamo=False) have fewer operators; `espalier quantize FILE` makes "
    "an integer file without a network of torch"
)


def read_onnx(
    path: Path, shape: tuple[int, ...] | None = None, *, activation: str | None = "Softmax"
) -> OnnxProgram:
    """Read an ONNX file. No code of the file is run.

    Args:
        path: file with one float32 input and one output (N, classes).
        shape: shape of an input, channels first, for a file that leaves it open; None takes that of the
            file.
        activation: operator that is left out where the file ends in it: networks give logits; None for
            none.

    Raises:
        BadInput: if the file is missing or damaged, or has a form or an operator that cannot be taken.
    """
    model = _load(path)
    _refuse_integers(path, model)
    sizes = _input_sizes(path, model)
    if len(model.graph.output) != 1:
        names = ", ".join(one.name for one in model.graph.output)
        raise BadInput(
            f"Expected {path} to have one output; found {len(model.graph.output)}: {names}. Export "
            "a network that returns one tensor."
        )
    chosen, channels_last = _chosen_shape(path, sizes[1:], shape)
    try:
        return lower(
            model,
            chosen,
            batch=sizes[0],
            channels_last=channels_last,
            activation=activation,
        )
    except Unsupported as error:
        raise BadInput(
            f"Expected {path} to be a graph that Espalier rebuilds in torch; found {error}. "
            f"{_WAYS_OUT}."
        ) from None
    except BadInput:
        raise
    except Exception as error:  # onnx and numpy raise nearly anything at a damaged weight
        raise BadInput(f"Expected {path} to be an ONNX file; found: {reason_of(error)}.") from None


def _load(path: Path) -> Any:
    model = load_onnx(path)
    if not model.functions:
        return model
    with reading(path, "an ONNX file"):
        return onnx.inliner.inline_local_functions(model)


def _refuse_integers(path: Path, model: Any) -> None:
    found = integer_operator(model)
    if found:
        raise BadInput(
            f"Expected {path} to compute in floating point; found integers ({found}): import the "
            "file from which it was quantized."
        )


def _input_sizes(path: Path, model: Any) -> tuple[int | None, ...]:
    """The sizes of the input, the batch first; None for each that the file leaves open."""
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise BadInput(
            f"Expected {path} to have one input; found {len(inputs)}: "
            f"{', '.join(one.name for one in inputs)}."
        )
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise BadInput(
            f"Expected the input of {path} to be float32; found {kind}: export the network alone, "
            "without its own preprocessing, which `input` of the entry replaces."
        )
    if len(tensor.shape.dim) < 2:
        raise BadInput(
            f"Expected the input of {path} to have a batch and at least one more dimension; found "
            f"{len(tensor.shape.dim)} dimensions."
        )
    return tuple(one.dim_value if one.dim_value > 0 else None for one in tensor.shape.dim)


def _chosen_shape(
    path: Path, sizes: tuple[int | None, ...], wanted: tuple[int, ...] | None
) -> tuple[tuple[int, ...], bool]:
    """The shape of an input, channels first, and whether the file takes channels last."""
    if wanted is None:
        if None in sizes:
            raise BadInput(
                f"Expected the shape of an input for {path}, which leaves sizes open "
                f"({_shown(sizes)}); found none: name it with --shape."
            )
        return tuple(size for size in sizes if size is not None), False
    if _fits(sizes, wanted):
        return wanted, False
    if len(wanted) == 3 and _fits(sizes, (*wanted[1:], wanted[0])):
        return wanted, True
    raise BadInput(
        f"Expected {path} to take inputs of {_shown(wanted)}; found {_shown(sizes)}. `input` of the "
        "entry sets size and channels: {size: [height, width], channels: rgb}."
    )


def _fits(sizes: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    return len(sizes) == len(wanted) and all(
        size in (None, own) for size, own in zip(sizes, wanted, strict=True)
    )


def _shown(sizes: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in sizes)

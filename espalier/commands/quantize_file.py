"""`espalier quantize FILE`: an ONNX file of anyone in 8-bit integers, without a project."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from rich.console import Console

from espalier import files
from espalier.commands.sample_images import agreement, parts_of, preprocessed, read_images
from espalier.errors import BadInput
from espalier.onnx_files import load_onnx
from espalier.quantization import compact, quantize
from espalier.runtimes import DEFAULT

_MOST = 768  # images: two thirds for the calibration, the others for the comparison of both files
_TYPES = {TensorProto.UINT8: "uint8", TensorProto.FLOAT: "float32"}


def run(
    file: Path, calibrate: Path, out: Path | None, settings: str | None, calibration: str
) -> None:
    """Quantize a file, and say its size and how often it answers like the original.

    Args:
        file: ONNX file with one input of images (N, C, H, W).
        calibrate: folder with images of the kind that the file will see.
        out: file to write; by default FILE-int8.onnx.
        settings: preprocessing that a float input expects, in YAML; by default pixels in [0, 1].
        calibration: choice of ranges, one of `espalier.quantization.CALIBRATIONS`.

    Raises:
        BadInput: if the file or the images cannot be read, or do not fit each other, or the file would
            be replaced.
    """
    target = out or file.with_name(f"{file.stem}-int8.onnx")
    if target.resolve() == file.resolve():
        raise BadInput(f"Expected --out to name another file than {file}; found the same.")
    shape, kind, batch = _input_of(file)
    images = read_images(calibrate, shape, _MOST)
    inputs = images if kind == "uint8" else preprocessed(images, settings)
    sample, others = (_whole_batches(part, batch) for part in parts_of(inputs))
    with DEFAULT.open_guarded(file) as model:  # before anything of the file is run in this process
        theirs = model.outputs(np.concatenate([others, sample]), batch)[: len(others)]
    with files.writing(target) as draft:
        quantize(file, draft, sample, calibration=calibration)
        onnx.save(compact(onnx.load(draft)), draft)
    ours = DEFAULT.open(target).outputs(others, batch)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    before, after = file.stat().st_size, target.stat().st_size
    say(f"{target}: {after / 1e3:.1f} kB instead of {before / 1e3:.1f} kB")
    say(agreement(file, ours, theirs))
    if after >= before:
        say("Warning: the integer file is not smaller, because it holds few weights.")


def _whole_batches(inputs: NDArray[Any], batch: int | None) -> NDArray[Any]:
    """The inputs (N, ...) that fill whole batches of a file for a fixed number of examples.

    Raises:
        BadInput: if there are fewer than one batch.
    """
    if batch is None:
        return inputs
    count = len(inputs) // batch * batch
    if not count:
        raise BadInput(
            f"Expected {batch} images or more for the calibration and as many for the comparison, because "
            f"the file takes {batch} at a time; found {len(inputs)}."
        )
    return inputs[:count]


def _input_of(file: Path) -> tuple[tuple[int, ...], str, int | None]:
    """Channels, height and width of the input of a file, its type, and its number of examples if it is fixed.

    Raises:
        BadInput: if it is no ONNX file with one input of images.
    """
    graph = load_onnx(file, external=True).graph
    weights = {weight.name for weight in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise BadInput(f"Expected {file} to have one input; found {len(inputs)}.")
    tensor = inputs[0].type.tensor_type
    sizes = tuple(int(one.dim_value) for one in tensor.shape.dim)
    shape = sizes[1:]
    kind = _TYPES.get(tensor.elem_type)
    if kind is None or len(shape) != 3 or shape[0] not in (1, 3) or 0 in shape:
        found = ", ".join(one.dim_param or str(one.dim_value) for one in tensor.shape.dim)
        raise BadInput(
            f"Expected the input of {file} to be images (N, 1 or 3, height, width) of a fixed height and "
            f"width, of float32 or uint8; found ({found}) of {TensorProto.DataType.Name(tensor.elem_type)}."
        )
    return shape, kind, sizes[0] or None

"""`espalier quantize FILE`: an ONNX file of anyone in 8-bit integers, without a project."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from pydantic import ValidationError
from rich.console import Console

from espalier import files
from espalier.commands.options import mapping
from espalier.data import folders
from espalier.decoders.each import decode_images
from espalier.errors import BadInput, first_problem
from espalier.inputs import INPUTS
from espalier.onnx_files import load_onnx
from espalier.quantization import quantize
from espalier.runtimes import DEFAULT
from espalier.settings.images import ImagePolicy
from espalier.settings.limits import DECODING_SECONDS, EXAMPLE_BYTES

_MOST = 512  # images of the calibration
_COMPARED = 256  # other images, on which both files are compared
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
    images = _images(calibrate, shape, _MOST + _COMPARED)
    inputs = images if kind == "uint8" else _preprocessed(images, settings)
    sample, others = (_whole_batches(part, batch) for part in _parts(inputs))
    with DEFAULT.open_guarded(file) as model:  # before anything of the file is run in this process
        theirs = model.outputs(np.concatenate([others, sample]), batch)[: len(others)]
    quantize(file, target, sample, calibration=calibration)
    ours = DEFAULT.open(target).outputs(others, batch)
    say = Console(soft_wrap=True, markup=False, highlight=False).print
    before, after = file.stat().st_size, target.stat().st_size
    say(f"{target}: {after / 1e3:.1f} kB instead of {before / 1e3:.1f} kB")
    say(_agreement(file, ours, theirs))
    if after >= before:
        say("Warning: the integer file is not smaller, because it holds few weights.")


def _agreement(file: Path, ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    """How near the answers (N, ...) are to those of the file: the same classes, or numbers nearby."""
    images = f"{len(ours)} images"
    if ours.ndim > 1 and ours.shape[1] > 1:
        same = (ours.argmax(1) == theirs.argmax(1)).mean()
        return f"The same answer as {file} to {same:.1%} of {images}."
    spread = float(np.ptp(theirs)) or 1.0
    differences = np.abs(ours - theirs) / spread
    return (
        f"The numbers differ from those of {file} by {differences.mean():.1%} of their range, and by "
        f"{differences.max():.1%} at most, over {images}."
    )


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


def _images(folder: Path, shape: tuple[int, ...], most: int) -> NDArray[np.uint8]:
    """Images (N, C, H, W) of a folder, evenly spaced over its files, in the size of the input.

    Raises:
        BadInput: if there are none, or one cannot be read.
    """
    if not folder.is_dir():
        raise BadInput(f"Expected {folder} to be a folder with images; found no folder.")
    paths = folders.images_below(folder)
    if len(paths) < 2:
        raise BadInput(f"Expected {folder} to hold at least two images; found {len(paths)}.")
    places = np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)
    channels, height, width = shape
    policy = ImagePolicy(
        size=(height, width), channels="gray" if channels == 1 else "rgb", alpha="white"
    )
    chosen = [paths[place] for place in places]
    contents = (files.read_bounded(path, EXAMPLE_BYTES) for path in chosen)
    outcomes = decode_images(contents, policy, DECODING_SECONDS)
    images = []
    for path, outcome in zip(chosen, outcomes, strict=True):
        if outcome.unreadable:
            raise BadInput(f"Expected {path} to be an image; found: {outcome.unreadable}.")
        images.append(outcome.example)
    return np.stack(images)


def _preprocessed(images: NDArray[np.uint8], settings: str | None) -> NDArray[np.float32]:
    """The images as a float input expects them."""
    given = mapping("--input", settings)
    try:
        front = INPUTS["image"].own_front(given, images.shape[1:])
    except ValidationError as error:
        key, problem = first_problem(error)
        if not key:  # of the settings together, in a sentence of its own
            raise BadInput(problem.removeprefix("Value error, ")) from None
        raise BadInput(
            f"Expected --input to have the keys of a preprocessing, such as mean and std; found "
            f"`{key}`: {problem}."
        ) from None
    found: NDArray[np.float32] = front(torch.from_numpy(images)).numpy()
    if found.shape != images.shape:
        wanted, sizes = ("x".join(map(str, one.shape[1:])) for one in (images, found))
        raise BadInput(
            f"Expected --input to keep images of {wanted}, as the file takes them; found {sizes}."
        )
    return found


def _parts(inputs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs for the calibration, and others for the comparison: every third one."""
    compared = np.arange(len(inputs)) % 3 == 2
    if not compared.any():
        return inputs, inputs
    return inputs[~compared], inputs[compared]

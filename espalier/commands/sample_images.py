"""Images of a folder for commands without a project: to calibrate with, and to compare answers on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from espalier import files
from espalier.commands.options import mapping
from espalier.data import folders
from espalier.decoders.each import decode_images
from espalier.errors import BadInput, first_problem
from espalier.inputs import INPUTS
from espalier.settings.images import ImagePolicy
from espalier.settings.limits import DECODING_SECONDS, EXAMPLE_BYTES


def read_images(folder: Path, shape: tuple[int, ...], most: int) -> NDArray[np.uint8]:
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


def preprocessed(images: NDArray[np.uint8], settings: str | None) -> NDArray[np.float32]:
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


def parts_of(inputs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs for the calibration, and others for the comparison: every third one."""
    compared = np.arange(len(inputs)) % 3 == 2
    if not compared.any():
        return inputs, inputs
    return inputs[~compared], inputs[compared]


def agreement(original: object, ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    """How near the answers (N, ...) are to those of the file: the same classes, or numbers nearby."""
    images = f"{len(ours)} images"
    if ours.ndim > 1 and ours.shape[1] > 1:
        same = (ours.argmax(1) == theirs.argmax(1)).mean()
        return f"The same answer as {original} to {same:.1%} of {images}."
    spread = float(np.ptp(theirs)) or 1.0
    differences = np.abs(ours - theirs) / spread
    return (
        f"The numbers differ from those of {original} by {differences.mean():.1%} of their range, and by "
        f"{differences.max():.1%} at most, over {images}."
    )

"""Saliency maps of several networks on the same images: computing, writing and reading them."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from espalier import files
from espalier.errors import BadInput, Notice
from espalier.prediction import NO_ANSWER
from espalier.report.understanding.grad_cam import grad_cam, rank_correlation
from espalier.report.understanding.stored import read_explanation

Map = list[list[int]]
AnyMap = np.ndarray | None
"""A map (h, w) float32, not negative; None where there is none."""
Find = Callable[[str, nn.Module, Tensor, np.ndarray], tuple[str, list[AnyMap]]]
"""The name of a layer, and a map for each answer (N,) of a named network to inputs (N, ...)."""


@dataclass(frozen=True)
class ModelSaliency:
    """The saliency maps of one model.

    Attributes:
        layer: name of the layer at which they were computed; empty if no layer has positions.
        answers: the model's answer to each image that is shown; -1 if it gave none.
        maps: for each image that is shown a map (h, w) from 0 to 255, where 255 is its highest
            value; None if there is no map.
        agreement: mean rank correlation with the first model's maps over the compared images;
            None if there is nothing to correlate.
    """

    layer: str
    answers: list[int | float]
    maps: list[Map | None]
    agreement: float | None = None


@dataclass(frozen=True)
class SaliencyMaps:
    """The saliency maps of several models on the same test images.

    Attributes:
        examples: indices in the test split of the images that are shown.
        labels: classes of these images.
        compared: number of images over which the agreement is averaged; other images than the
            shown ones, where there are some.
        models: maps by model; the agreement of the others is with the first.
    """

    examples: list[int]
    labels: list[int | float]
    compared: int
    models: dict[str, ModelSaliency]

    def write(self, path: Path) -> None:
        """Write the maps as JSON."""
        files.write(path, _SALIENCY.dump_json(self) + b"\n")

    @classmethod
    def read(cls, path: Path) -> "SaliencyMaps | None":
        """Read the maps; None if there is no file.

        Raises:
            BadInput: if the file holds something else.
        """
        found = read_explanation(path, _SALIENCY)
        if found is None:
            return None
        for name, model in found.models.items():
            counts = {len(found.examples), len(found.labels), len(model.answers), len(model.maps)}
            if len(counts) > 1 or not all(map(_is_map, model.maps)):
                raise BadInput(
                    f"Expected {path} to have an answer of {name[:100]!r} to each example, and a map "
                    "of 0 to 255 or none; found others. Run `espalier evaluate` again."
                )
        return found


_SALIENCY = TypeAdapter(SaliencyMaps)


def _is_map(values: Map | None) -> bool:
    """Whether a map has rows of equal length, with values of 0 to 255."""
    if values is None:
        return True
    widths = {len(row) for row in values}
    sound = all(0 <= value <= 255 for row in values for value in row)
    return sound and len(widths) == 1 and 0 not in widths


def saliency_maps(
    networks: Iterable[tuple[str, nn.Module, Tensor]],
    answers: Mapping[str, np.ndarray],
    labels: np.ndarray,
    examples: list[int],
    find: Find | None = None,
) -> SaliencyMaps:
    """Compute the saliency maps of several networks.

    Args:
        networks: names, networks, and images (N, C, H, W) as the network sees them, N above 1, on
            its device: first those to be shown, then those over which the agreement is averaged; if
            there are no others, it is averaged over the shown ones. The agreement of all networks
            is with the first.
        answers: each model's answers (N,), whose outputs are explained.
        labels: classes (n,) of the images to be shown.
        examples: indices of these images in the test split.
        find: computes the maps of a network; None for Grad-CAM.
    """
    find = find or grad_cam_maps
    shown, count = len(examples), len(next(iter(answers.values())))
    compared = slice(shown if count > shown else 0, None)
    models: dict[str, ModelSaliency] = {}
    reference: list[AnyMap] = []
    for name, network, images in networks:
        layer, maps = find(name, network, images, answers[name])
        agreement = _mean_correlation(maps[compared], reference) if models else None
        reference = reference or maps[compared]
        scaled = [None if saliency is None else _scaled(saliency) for saliency in maps[:shown]]
        models[name] = ModelSaliency(layer, answers[name][:shown].tolist(), scaled, agreement)
    return SaliencyMaps(examples, labels.tolist(), len(range(count)[compared]), models)


def grad_cam_maps(
    name: str, network: nn.Module, images: Tensor, answers: np.ndarray
) -> tuple[str, list[AnyMap]]:
    """The layer, and a map for each answer, where the network has one.

    A network that cannot be differentiated loses its maps and gives a warning; the evaluation of
    all models goes on.
    """
    nothing: list[AnyMap] = [None] * len(answers)
    explained = torch.from_numpy(answers).clamp(min=0).to(images.device)
    try:
        found = grad_cam(network, images, explained)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        warnings.warn(
            f"Expected a saliency map of {name}; found: {reason}. Its column stays empty.",
            Notice,
            stacklevel=2,
        )
        return "", nothing
    if found is None:
        return "", nothing
    known = (answers != NO_ANSWER) & np.isfinite(found.maps).all((1, 2))
    maps = [
        saliency if usable else None for saliency, usable in zip(found.maps, known, strict=True)
    ]
    return found.layer, maps


def _mean_correlation(ours: Sequence[AnyMap], theirs: Sequence[AnyMap]) -> float | None:
    """The mean rank correlation over the images for which both have a map; None if there is none."""
    correlations = [
        rank_correlation(one, other)
        for one, other in zip(ours, theirs, strict=True)
        if one is not None and other is not None
    ]
    finite = [value for value in correlations if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _scaled(saliency: np.ndarray) -> Map:
    """A map as integers from 0 to 255, its highest value."""
    highest = saliency.max()
    scaled: Map = np.round(255 * saliency / (highest if highest > 0 else 1)).astype(int).tolist()
    return scaled

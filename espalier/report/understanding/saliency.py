"""Asking several networks where they look in the same images."""

import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import Notice
from espalier.judging import NO_ANSWER
from espalier.report.understanding.grad_cam import agreement, heat
from espalier.report.understanding.saliency_maps import Look, Looks, Map


def look(
    networks: Iterable[tuple[str, nn.Module]],
    images: Tensor,
    answers: Mapping[str, np.ndarray],
    labels: np.ndarray,
    examples: list[int],
) -> Looks:
    """Ask networks where they look.

    Args:
        networks: With their names; the one that the others are held against first.
        images: (N, C, H, W) as they see them, N above 1, on their device: first those to be shown, then those by which
            the networks are compared; if there are no others, by those that are shown.
        answers: What each model answers to them (N,), which is what is explained.
        labels: What those are that are shown (n,).
        examples: Where these are in the test split.
    """
    shown = len(examples)
    compared = slice(shown if len(images) > shown else 0, None)
    found: dict[str, Look] = {}
    first: list[np.ndarray | None] = []
    for name, network in networks:
        layer, maps = _maps(name, network, images, answers[name])
        own = None if not found else _mean_agreement(maps[compared], first)
        first = first or maps[compared]
        kept = [None if one is None else _scaled(one) for one in maps[:shown]]
        found[name] = Look(layer, answers[name][:shown].tolist(), kept, own)
    return Looks(examples, labels.tolist(), len(images[compared]), found)


def _maps(
    name: str, network: nn.Module, images: Tensor, answers: np.ndarray
) -> tuple[str, list[np.ndarray | None]]:
    """The layer that was asked, and a map (h, w) for each answer of which there is one."""
    try:
        seen = heat(network, images, torch.from_numpy(answers).clamp(min=0).to(images.device))
    except RuntimeError as error:  # whatever a user's network does; the figures of all models are worth more than this
        reason = str(error).partition("\n")[0]
        warnings.warn(f"{name} should tell where it looks. Found: {reason}", Notice, stacklevel=2)
        return "", [None] * len(answers)
    if seen is None:
        return "", [None] * len(answers)
    known = (answers != NO_ANSWER) & np.isfinite(seen.maps).all((1, 2))
    return seen.layer, [one if there else None for one, there in zip(seen.maps, known, strict=True)]


def _mean_agreement(ours: list[np.ndarray | None], theirs: list[np.ndarray | None]) -> float | None:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    found = [value for a, b in pairs if np.isfinite(value := agreement(a, b))]
    return float(np.mean(found)) if found else None


def _scaled(heat: np.ndarray) -> Map:
    highest = heat.max()
    scaled: Map = np.round(255 * heat / (highest if highest > 0 else 1)).astype(int).tolist()
    return scaled

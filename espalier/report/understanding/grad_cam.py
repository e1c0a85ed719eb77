"""Grad-CAM: the positions in an image that support a network's answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from espalier.distillation.features import Layer, Tap, layers
from espalier.distillation.features.layers import as_map
from espalier.training.heads import heads_of

_LEAST = 4  # height and width of a map that resolves positions
_LAST = 16  # last layers that are searched: gradients of earlier ones cost like a training step
_MOST = 32  # height and width of a map that is kept; finer ones are averaged
_POOLING = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)


@dataclass(frozen=True)
class GradCam:
    """The Grad-CAM maps of one network.

    Attributes:
        layer: name of the layer at which they were computed.
        maps: (N, h, w) float32, not negative: the support of each position for the answer.
    """

    layer: str
    maps: np.ndarray


def grad_cam(network: nn.Module, images: Tensor, answers: Tensor) -> GradCam | None:
    """The support of each position for an answer, at the last layer that resolves positions.

    Source: Selvaraju et al. (2017), "Grad-CAM", eqs. 1 and 2, as captum computes them. The layer
    is the last one before any pooling with at least 4 x 4 positions (of smaller ones, the last
    with more than one) on whose positions the answer depends. In a vision transformer with a class
    token that is not the last layer, because nothing consumes the other tokens there.

    Args:
        network: a classifier in evaluation mode; it is not changed.
        images: (N, C, H, W) as the network sees them, N above 1.
        answers: (N,) int64, the class whose logit is explained.

    Returns:
        The maps; None if no layer has positions.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer = _last_spatial_layer(network, images[:2])
    if layer is None:
        return None
    with _channels_first(network, layer, images) as output:
        method = LayerGradCam(lambda inputs: _first_head(network, inputs), output)
        found: Any = method.attribute(images, target=answers, relu_attributions=True)
    sides = found.shape[2:]
    if max(sides) > _MOST:
        factor = _MOST / max(sides)
        size = tuple(max(1, round(side * factor)) for side in sides)
        found = LayerAttribution.interpolate(found, size, "area")
    return GradCam(layer, found[:, 0].detach().float().cpu().numpy())


def rank_correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Spearman's rank correlation of two maps of one image, on the finer of their grids.

    Args:
        ours: (h, w)
        theirs: (h', w')

    Returns:
        A number from -1 to 1; NaN if one of the maps is constant.
    """
    from captum.attr import LayerAttribution

    size = tuple(max(sides) for sides in zip(ours.shape, theirs.shape, strict=True))
    flat = []
    for values in (ours, theirs):
        image = torch.from_numpy(values)[None, None].float()
        flat.append(LayerAttribution.interpolate(image, size, "bilinear").numpy().ravel())
    if any(np.ptp(values) == 0 or not np.isfinite(values).all() for values in flat):
        return float("nan")
    return float(spearmanr(*flat).statistic)


def _last_spatial_layer(network: nn.Module, images: Tensor) -> str | None:
    """The name of the last layer with positions on which the answer depends."""
    modules = dict(network.named_modules())
    spatial = [
        layer
        for layer in layers(network, images)
        if max(layer.size) > 1 and not _ends_in_pooling(modules[layer.name])
    ]
    fine = [layer for layer in spatial if min(layer.size) >= _LEAST]
    for candidates in (fine, spatial):
        consumed = _consumed(network, images[:1], candidates[-_LAST:])
        if consumed:
            return consumed[-1]
    return None


def _ends_in_pooling(module: nn.Module) -> bool:
    """Whether a layer, or the last one of a sequence, is a pooling."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return isinstance(module, _POOLING)


def _consumed(network: nn.Module, images: Tensor, candidates: Sequence[Layer]) -> list[str]:
    """The names of the layers on whose positions, a class token aside, the answer depends."""
    if not candidates:
        return []
    size = (int(images.shape[2]), int(images.shape[3]))
    tap = Tap(network, (layer.name for layer in candidates))
    with torch.enable_grad():
        best = _first_head(network, images.clone().requires_grad_()).amax(1).sum()
        taken = tap.pop()
        tap.close()
        outputs = {name: output for name, output in taken.items() if output.requires_grad}
        if not outputs:
            return []
        gradients = torch.autograd.grad(best, list(outputs.values()), allow_unused=True)
    return [
        name
        for name, gradient in zip(outputs, gradients, strict=True)
        if gradient is not None and bool(as_map(gradient, size).any())
    ]


@contextmanager
def _channels_first(network: nn.Module, name: str, images: Tensor) -> Iterator[nn.Module]:
    """A module through which the output of the named layer flows as a map (N, C, h, w).

    Args:
        network: gets a hook while the block runs.
        name: name of the layer; its output may be (N, C, h, w), (N, h, w, C) or tokens (N, L, C).
        images: (N, C, H, W), to lay out tokens.
    """
    mapped_output = nn.Identity()
    size = (int(images.shape[2]), int(images.shape[3]))

    def through(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        mapped = as_map(output, size)
        passed: Tensor = mapped_output(mapped)
        if mapped is output:
            return passed
        if output.ndim == 4:
            return passed.permute(0, 2, 3, 1)
        tokens = passed.flatten(2).transpose(1, 2)
        extra = output.shape[1] - tokens.shape[1]  # class and register tokens
        return torch.cat([output[:, :extra], tokens], 1)

    handle = network.get_submodule(name).register_forward_hook(through)
    try:
        yield mapped_output
    finally:
        handle.remove()


def _first_head(network: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs of the first head, which is the deployed one."""
    return next(iter(heads_of(network(inputs)).values()))

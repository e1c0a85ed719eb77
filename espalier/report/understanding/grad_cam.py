"""Where a network looks: Grad-CAM."""

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

_LEAST = 4  # height and width of a map that tells places apart
_LAST = 16  # layers among which it is sought: gradients of earlier ones would cost as much as a training step
_MOST = 32  # height and width of a map that is kept: finer ones are averaged
_POOLING = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)


@dataclass(frozen=True)
class Heat:
    """Where a network looks in some images.

    Attributes:
        layer: The name of the layer that was asked.
        maps: (N, h, w) float32, not negative: how much each place spoke for the answer.
    """

    layer: str
    maps: np.ndarray


def heat(network: nn.Module, images: Tensor, answers: Tensor) -> Heat | None:
    """How much each place of the last map in a network speaks for an answer.

    Source: Selvaraju et al. (2017), "Grad-CAM", eqs. 1 and 2, as captum computes them. The map is the output of the
    last layer, before any pooling, with at least 4 x 4 places, or else of the last with more than one, on whose places
    the answer still depends: in a vision transformer with a class token not the last, whose other tokens nobody reads.

    Args:
        network: A classifier in evaluation mode; it is left as it is.
        images: (N, C, H, W) as it sees them, N above 1.
        answers: (N,) int64, the class whose logit is explained.

    Returns:
        The heat; None if the network has no layer with places.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer = _layer(network, images[:2])
    if layer is None:
        return None
    with _places(network, layer, images) as places:
        found: Any = LayerGradCam(lambda seen: _logits(network, seen), places).attribute(
            images, target=answers, relu_attributions=True
        )
    height, width = found.shape[2:]
    if max(height, width) > _MOST:
        shrink = _MOST / max(height, width)
        size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        found = LayerAttribution.interpolate(found, size, "area")
    return Heat(layer, found[:, 0].detach().float().cpu().numpy())


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The rank correlation (Spearman) of two heats of one image, on the finer of their grids.

    Args:
        ours: (h, w)
        theirs: (h', w')

    Returns:
        From -1 to 1; NaN if one of them is the same everywhere.
    """
    from captum.attr import LayerAttribution

    size = tuple(max(sides) for sides in zip(ours.shape, theirs.shape, strict=True))
    both = [
        LayerAttribution.interpolate(torch.from_numpy(one)[None, None].float(), size, "bilinear")
        .numpy()
        .ravel()
        for one in (ours, theirs)
    ]
    if any(np.ptp(one) == 0 or not np.isfinite(one).all() for one in both):
        return float("nan")
    return float(spearmanr(*both).statistic)


def _layer(network: nn.Module, images: Tensor) -> str | None:
    """The name of the layer whose output is asked."""
    modules = dict(network.named_modules())
    mapped = [
        one
        for one in layers(network, images)
        if max(one.size) > 1 and not _pools(modules[one.name])
    ]
    fine = [one for one in mapped if min(one.size) >= _LEAST]
    for candidates in (fine, mapped):
        read = _read(network, images[:1], candidates[-_LAST:])
        if read:
            return read[-1]
    return None


def _pools(module: nn.Module) -> bool:
    """Whether a layer, or the last of a sequence, is a pooling: what it puts out is behind it."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return isinstance(module, _POOLING)


def _read(network: nn.Module, images: Tensor, mapped: Sequence[Layer]) -> list[str]:
    """The names of the layers on whose places, apart from a class token, the answer depends."""
    if not mapped:
        return []
    tap, size = (
        Tap(network, (one.name for one in mapped)),
        (int(images.shape[2]), int(images.shape[3])),
    )
    with torch.enable_grad():
        best = _logits(network, images.clone().requires_grad_()).amax(1).sum()
        outputs = {name: output for name, output in tap.take().items() if output.requires_grad}
        tap.close()
        gradients = (
            torch.autograd.grad(best, list(outputs.values()), allow_unused=True) if outputs else ()
        )
    found = zip(outputs, gradients, strict=True)
    return [
        name
        for name, gradient in found
        if gradient is not None and bool(as_map(gradient, size).any())
    ]


@contextmanager
def _places(network: nn.Module, name: str, images: Tensor) -> Iterator[nn.Module]:
    """A layer through which a map of what the named layer puts out flows, channels first, whatever its layout is."""
    places, size = nn.Identity(), (int(images.shape[2]), int(images.shape[3]))

    def through(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        mapped = as_map(output, size)
        passed: Tensor = places(mapped)
        if mapped is output:
            return passed
        if output.ndim == 4:
            return passed.permute(0, 2, 3, 1)
        tokens = passed.flatten(2).transpose(1, 2)
        return torch.cat([output[:, : output.shape[1] - tokens.shape[1]], tokens], 1)

    handle = network.get_submodule(name).register_forward_hook(through)
    try:
        yield places
    finally:
        handle.remove()


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    """Of the first head, which is the one that is deployed."""
    return next(iter(heads_of(network(images)).values()))

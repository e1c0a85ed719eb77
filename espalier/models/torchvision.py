"""torchvision's classifiers for any number of classes and channels, and for small images."""

from collections.abc import Callable
from typing import Any

from torch import nn

from espalier.errors import BadInput, reason_of
from espalier.models.attention import make_attention_prunable


def torchvision_classifier(name: str) -> Callable[..., nn.Module]:
    """The factory of one of torchvision's classifiers, without pretrained weights.

    Raises:
        BadInput: If torchvision has no classifier of that name; the message lists them.
    """
    import torchvision.models as zoo  # here: the import costs up to seconds, and espalier's own models need none

    known = zoo.list_models(module=zoo)
    if name not in known:
        raise BadInput(
            f"Expected a classifier of torchvision among {', '.join(known)}; found {name!r}."
        )

    def factory(
        *,
        classes: int,
        shape: tuple[int, int, int],
        small: bool = False,
        options: dict[str, Any] | None = None,
    ) -> nn.Module:
        options = dict(options or {})
        if name.startswith("vit"):
            options.setdefault("image_size", shape[1])
        if name.startswith("maxvit"):
            options.setdefault("input_size", shape[1:])
        if name in ("googlenet", "inception_v3"):
            options |= {"aux_logits": False, "init_weights": True}
        network = _create(zoo.get_model, name, classes, options)
        make_attention_prunable(network)
        if shape[0] != 3:
            _widen_stem(network, shape[0])
        if small:
            _shrink_stem(network)
        return network

    return factory


def _create(
    get_model: Callable[..., nn.Module], name: str, classes: int, options: dict[str, Any]
) -> nn.Module:
    try:
        return get_model(name, weights=None, num_classes=classes, **options)
    except TypeError as error:  # an unknown option
        raise BadInput(
            f"Expected torchvision:{name} to be built with {options}; found: {reason_of(error)}."
        ) from None


def _widen_stem(network: nn.Module, channels: int) -> None:
    """Give the first convolution another number of input channels."""
    name, first = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    _replace(network, name, _like(first, channels=channels))


def _shrink_stem(network: nn.Module) -> None:
    """Keep the resolution in the stem: a first convolution of stride 1, no max pooling."""
    name, first = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    kernel = min(3, int(first.kernel_size[0]))
    _replace(network, name, _like(first, kernel=kernel))
    early = getattr(network, "maxpool", None)
    if isinstance(early, nn.MaxPool2d):
        network.maxpool = nn.Identity()


def _like(conv: nn.Conv2d, *, channels: int | None = None, kernel: int | None = None) -> nn.Conv2d:
    size = kernel or int(conv.kernel_size[0])
    stride, padding = ((1, 1), size // 2) if kernel else (conv.stride, conv.padding)
    return nn.Conv2d(
        channels or conv.in_channels,
        conv.out_channels,
        size,
        stride,  # type: ignore[arg-type]  # a tuple of two, which torch's stub types as a tuple of any length
        padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, module)

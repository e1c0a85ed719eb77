"""Networks by name: of espalier, of torchvision, of timm, and of packages that the user trusts."""

import inspect
from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from espalier.errors import BadInput
from espalier.models.architecture import Architecture
from espalier.models.cnn import cnn
from espalier.models.lenet import lenet5, lenet300
from espalier.models.mlp import mlp
from espalier.models.mobilenet import mobilenet
from espalier.models.onnx_graph import onnx_network
from espalier.models.resnet import resnet
from espalier.models.text import text_cnn, text_encoder, text_lstm
from espalier.models.timm import timm_network
from espalier.models.torchvision import torchvision_classifier
from espalier.models.vgg import vgg
from espalier.models.wide_resnet import wide_resnet
from espalier.own_functions import own_function, refuse_untrusted

Factory = Callable[..., nn.Module]

FACTORIES: dict[str, Factory] = {
    "cnn": cnn,
    "lenet300": lenet300,
    "lenet5": lenet5,
    "mlp": mlp,
    "mobilenet": mobilenet,
    "onnx": onnx_network,
    "resnet": resnet,
    "text_cnn": text_cnn,
    "text_encoder": text_encoder,
    "text_lstm": text_lstm,
    "vgg": vgg,
    "wide_resnet": wide_resnet,
}

_OPTIONS = {
    package: f": arguments of {package}'s own function go under `arguments: {{options: {{...}}}}`"
    for package in ("timm", "torchvision")
}


def build(
    factory: str,
    *,
    classes: int,
    shape: tuple[int, ...],
    arguments: dict[str, Any] | None = None,
    trusted: Collection[str] = (),
) -> nn.Module:
    """Build a network, with fresh random weights from torch's generator.

    Args:
        factory: `espalier:resnet`, `torchvision:resnet18`, `timm:resnet18`, or
            `package.module:function`, which is called with `classes`, `shape` and the arguments.
        classes: Number of outputs of the classifier.
        shape: Channels, height and width of an image.
        arguments: Keyword arguments of the factory.
        trusted: Packages beside espalier and torchvision that may run code here.

    Returns:
        The network, with its architecture stored in it.

    Raises:
        BadInput: If the factory is unknown or not trusted, or an argument is wrong.
    """
    arguments = dict(arguments or {})
    module = _call(
        find_factory(factory, trusted),
        factory,
        classes,
        shape,
        arguments,
    )
    return Architecture(factory, classes, shape, arguments).attach(module)


def find_factory(name: str, trusted: Collection[str] = ()) -> Factory:
    """The function that builds a network.

    Raises:
        BadInput: If it is unknown or its package is not trusted.
    """
    package, separator, function = name.partition(":")
    if not separator or not package or not function:
        raise BadInput(
            "Expected a model as `package:function`, for example `espalier:resnet`; found "
            f"{name!r}."
        )
    if package == "espalier":
        if function not in FACTORIES:
            raise BadInput(
                f"Expected a model of espalier among {', '.join(FACTORIES)}; found {function!r}."
            )
        return FACTORIES[function]
    if package == "torchvision":
        return torchvision_classifier(function)
    if package == "timm":
        return timm_network(function)
    refuse_untrusted(name, trusted)
    found: Factory = own_function(name)
    return found


def _call(
    function: Factory,
    name: str,
    classes: int,
    shape: tuple[int, ...],
    arguments: dict[str, Any],
) -> nn.Module:
    try:
        inspect.signature(function).bind(classes=classes, shape=shape, **arguments)
    except TypeError as error:
        known = ", ".join(
            key for key in inspect.signature(function).parameters if key not in ("classes", "shape")
        )
        hint = _OPTIONS.get(name.partition(":")[0], "")
        raise BadInput(
            f"Expected arguments of {name} among {known or 'none'}; found: {error}{hint}."
        ) from None
    module = function(classes=classes, shape=shape, **arguments)
    if not isinstance(module, nn.Module):
        raise BadInput(f"Expected a torch module from {name}; found a {type(module).__name__}.")
    return module

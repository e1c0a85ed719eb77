"""Weights that torchvision and timm publish, by name, with the preprocessing that belongs to them."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch

from espalier.errors import BadInput, reason_of
from espalier.models.trained.reading import Weights, read_weights


def published_weights(factory: str, name: str) -> Weights:
    """Weights from the cache of their library, or downloaded into it.

    Args:
        factory: `torchvision:NAME` or `timm:NAME`.
        name: name of the weights, such as `DEFAULT` or `IMAGENET1K_V2`.

    Raises:
        BadInput: if there are no weights of that name, or they are neither in the cache nor can be
            downloaded; the message says where a copy is looked for.
    """
    library, _, model = factory.partition(":")
    if library == "timm":
        return _from_timm(model, name)
    found = _torchvision_weights(model, name)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(found.url).name
    if not path.is_file():
        _download(found.url, path)
    return read_weights(path)


def published_preprocessing(factory: str, name: str) -> dict[str, Any]:
    """The preprocessing that belongs to published weights, in the form of `architecture.json`.

    Raises:
        BadInput: if there are no weights of that name.
    """
    library, _, model = factory.partition(":")
    if library == "timm":
        return _timm_preprocessing(_timm_settings(model, name))
    transforms = _torchvision_weights(model, name).transforms()
    (resize,), (crop,) = transforms.resize_size, transforms.crop_size
    return {
        "resize": resize,
        "crop": crop,
        "interpolation": str(transforms.interpolation.value),
        "channels": "rgb",
        "mean": list(transforms.mean),
        "std": list(transforms.std),
    }


def _torchvision_weights(model: str, name: str) -> Any:
    import torchvision.models as zoo  # noqa: PLC0415, RUF100  # here: the import costs seconds

    try:
        known = zoo.get_model_weights(model)
    except ValueError:
        raise BadInput(
            f"Expected a network of torchvision with weights; found {model!r}."
        ) from None
    if name not in known.__members__:
        raise BadInput(
            f"Expected `weights` of torchvision:{model} to be a file, or one of "
            f"{', '.join(known.__members__)}; found {name!r}."
        )
    return known[name]


def _download(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.load_state_dict_from_url(
            url, str(path.parent), "cpu", progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:
        reason = reason_of(error)
        raise BadInput(
            f"Expected {path} to hold the weights, or {url} to be reachable; found: {reason}. "
            "Download that file on a machine with network and put it there, or name its path in "
            "`weights`."
        ) from None


def _timm() -> Any:
    try:
        import timm  # noqa: PLC0415, RUF100  # optional
    except ImportError:
        raise BadInput(
            "Expected timm to be installed for a model `timm:NAME`; found it is not: "
            "pip install timm."
        ) from None
    return timm


def _timm_settings(model: str, name: str) -> Any:
    """Timm's `pretrained_cfg` of a network."""
    timm = _timm()
    tag = model if name == "DEFAULT" else f"{model.partition('.')[0]}.{name}"
    settings = timm.models.get_pretrained_cfg(tag)
    if settings is None:
        raise BadInput(
            f"Expected `weights` of timm:{model} to be a file, DEFAULT, or the tag of weights that "
            f"timm lists; found {name!r}."
        )
    return settings


def _from_timm(model: str, name: str) -> Weights:
    timm, settings = _timm(), _timm_settings(model, name)
    try:
        network = timm.create_model(model, pretrained=True, pretrained_cfg=settings)
    except Exception as error:  # of any library that fetches for timm
        reason = reason_of(error)
        raise BadInput(
            f"Expected the weights of timm:{model} in the cache of the Hugging Face hub, or to be "
            f"reachable; found: {reason}. Download the file elsewhere and name its path in "
            "`weights`."
        ) from None
    return Weights(network.state_dict())


def _timm_preprocessing(settings: Any) -> dict[str, Any]:
    side = int(settings.input_size[-1])
    return {
        "resize": int(side / settings.crop_pct),
        "crop": side,
        "interpolation": settings.interpolation
        if settings.interpolation in ("bilinear", "bicubic")
        else "bicubic",
        "mean": list(settings.mean),
        "std": list(settings.std),
    }

"""timm's networks for any number of classes and channels."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from torch import nn

from espalier.errors import BadInput, reason_of

_LISTED = 5  # similar names


def timm_network(name: str) -> Callable[..., nn.Module]:
    """The factory of one of timm's networks, without pretrained weights.

    Raises:
        BadInput: if timm is not installed, or has no network of that name.
    """
    try:
        import timm  # noqa: PLC0415, RUF100  # optional
    except ImportError:
        raise BadInput(
            f"Expected timm to be installed for the model 'timm:{name}'; found it is not: "
            "pip install timm."
        ) from None
    if not timm.is_model(name):
        stem = name.partition(".")[0]
        near = timm.list_models(f"*{stem}*") or get_close_matches(stem, timm.list_models(), _LISTED)
        hint = f", such as {', '.join(near[:_LISTED])}" if near else ""
        raise BadInput(
            f"Expected a network of timm{hint}; found {name!r}: `timm.list_models()` names all."
        )

    def factory(
        *, classes: int, shape: tuple[int, int, int], options: dict[str, Any] | None = None
    ) -> nn.Module:
        given = {"num_classes": classes, "in_chans": shape[0], **(options or {})}
        try:
            network: nn.Module = timm.create_model(name, pretrained=False, **given)
        except (RuntimeError, TypeError) as error:  # an unknown tag or option
            raise BadInput(
                f"Expected timm:{name} to be built with {given}; found: {reason_of(error)}."
            ) from None
        return network

    return factory

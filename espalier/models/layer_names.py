"""Names of layers, with dots between levels."""

from collections.abc import Collection
from difflib import get_close_matches

from torch import nn

from espalier.errors import BadInput

_SHOWN = 3  # names that a sentence proposes


def is_inside(name: str, layers: Collection[str]) -> bool:
    """Whether a layer is one of some layers, or inside of one.

    Example:
        `stem.0` is inside of `stem`, and `stems` is not.
    """
    return any(f"{name}.".startswith(f"{layer}.") for layer in layers)


def check_kept(network: nn.Module, keep: Collection[str]) -> None:
    """Refuse names in `keep` that no layer of the network has.

    Raises:
        BadInput: if there are some; it proposes names that are alike, or else the first ones.
    """
    known = [name for name, _ in network.named_modules() if name]
    unknown = sorted(set(keep) - {"", *known})
    if unknown:
        near = get_close_matches(unknown[0], known, _SHOWN) or known[:_SHOWN]
        raise BadInput(
            f"Expected names of layers of the network in `keep`, such as {', '.join(map(repr, near))}; "
            f"found {unknown[0]!r}."
        )

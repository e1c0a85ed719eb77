"""Names of layers, with dots between levels."""

from collections.abc import Collection


def is_inside(name: str, layers: Collection[str]) -> bool:
    """Whether a layer is one of some layers, or inside of one.

    Example:
        `stem.0` is inside of `stem`, and `stems` is not.
    """
    return any(f"{name}.".startswith(f"{layer}.") for layer in layers)

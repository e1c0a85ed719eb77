"""Names of layers, from those of the tensors and nodes of a file."""

import re

from torch import nn

_WEIGHT = re.compile(r"\w+(\.\w+)*\.weight")
_PART = re.compile(r"\w+")


def layer_name(weight: str, node: str, kind: str, taken: set[str]) -> str:
    """A name that no other layer has; it is added to the taken ones.

    Args:
        weight: name of the weight in the file; `layer1.0.conv1.weight` names the layer itself.
        node: name of the node, in which torch's exporter spells the path of the layer.
        kind: kind of the layer, which names it if the file does not.
        taken: names of layers, and all their prefixes.

    Example:
        >>> layer_name("onnx::Conv_3", "/layer1/layer1.0/conv1/Conv", "Conv2d", set())
        'layer1.0.conv1'
    """
    wanted = weight.removesuffix(".weight") if _WEIGHT.fullmatch(weight) else _path(node)
    if not wanted or not _is_free(wanted, taken):
        base, number = kind.lower(), 0
        while not _is_free(f"{base}_{number}", taken):
            number += 1
        wanted = f"{base}_{number}"
    parts = wanted.split(".")
    taken |= {".".join(parts[: length + 1]) for length in range(len(parts))}
    taken.add(f"{wanted}.")  # marks a layer, below which nothing is placed
    return wanted


def _path(node: str) -> str:
    """The path of the layer in the name of a node of torch's exporter; empty if there is none."""
    path: list[str] = []
    for part in node.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)


def _is_free(name: str, taken: set[str]) -> bool:
    """Whether a layer can have a name: no layer, and no attribute of torch's modules, is in the way."""
    parts = name.split(".")
    if not all(_PART.fullmatch(part) for part in parts) or name in taken:
        return False
    if any(hasattr(nn.Module(), part) for part in parts) or parts[0] == "constants":
        return False
    prefixes = (".".join(parts[:length]) for length in range(1, len(parts)))
    return not any(f"{prefix}." in taken for prefix in prefixes)

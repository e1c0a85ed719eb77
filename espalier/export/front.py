"""The names of the front in a deployed file."""

import onnx

_LIFTED = {"front.": "", "/front/": "/"}  # prefixes of tensors and of nodes, as exported


def lift_front(model: onnx.ModelProto) -> None:
    """Name the front's tensors and nodes as those of the whole file, in place: `scale`, not `front.scale`.

    So deployed files have the same bytes as those of versions in which the front was no module.
    """
    for tensor in model.graph.initializer:
        tensor.name = _lifted(tensor.name)
    for node in model.graph.node:
        node.name = _lifted(node.name)
        node.input[:] = [_lifted(name) for name in node.input]
        node.output[:] = [_lifted(name) for name in node.output]


def _lifted(name: str) -> str:
    for prefix, lifted in _LIFTED.items():
        if name.startswith(prefix):
            return lifted + name.removeprefix(prefix)
    return name

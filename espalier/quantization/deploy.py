"""A network that was trained for integers, as a file of integers with the steps that it learned."""

from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from espalier.export.onnx import Disagreement, Names, write
from espalier.quantization.aware import Aware
from espalier.quantization.lsq import Step
from espalier.quantization.qdq import with_integer_weights
from espalier.runtimes import DEFAULT

_VALUES = "network.values."  # what the names of steps begin with
_AGREEMENT = (
    0.5  # levels: values on the edge of two go either way, and biases are rounded in the file alone
)


def export_integers(
    network: Aware,
    path: Path,
    inputs: Tensor,
    front: nn.Module,
    *,
    readout: nn.Module | None = None,
    names: Names = Names(),  # noqa: B008 - it is frozen
) -> float:
    """Write the integer file of a network that was trained for it, and check that it computes the same.

    Layer by layer, each from the integers of the file: over many layers, the few values that go the other way are
    enough to lead the answers of a network with few levels apart.

    Args:
        network: network with trained steps; unchanged.
        path: file to write.
        inputs: real stored inputs (N, ...) on the processor, on which both are compared.
        front: module between stored inputs and the network.
        readout: module after the network; None for none.
        names: names of the input and the output in the file.

    Returns:
        The mean difference of the integers of a tensor, in levels, of the worst tensor.

    Raises:
        Disagreement: If that is above 0.5.
    """
    frozen = network.frozen()
    deployed = write(
        frozen,
        path,
        inputs,
        front,
        readout=readout,
        names=names,
    )
    model = onnx.load(path)
    integers = _integers(model)
    onnx.save(with_integer_weights(model), path)
    difference = _difference(deployed, frozen, model, integers, inputs)
    if not difference <= _AGREEMENT:
        raise Disagreement(
            f"Expected the integers of the file to be the network's to {_AGREEMENT} levels; found "
            "a difference of "
            f"{difference:.2g}."
        )
    return difference


def _integers(model: onnx.ModelProto) -> dict[str, str]:
    """The names of the integers of activations in a file, as it is exported, by the keys of their steps."""
    names: dict[str, str] = {}
    for node in model.graph.node:
        step = node.input[1] if node.op_type == "QuantizeLinear" else ""
        if step.startswith(_VALUES):
            key = step.removeprefix(_VALUES).removesuffix(".step")
            names.setdefault(key, node.output[0])  # where they are moved comes later
    return names


@torch.no_grad()
def _difference(
    deployed: torch.nn.Module,
    network: Aware,
    model: onnx.ModelProto,
    names: dict[str, str],
    images: Tensor,
) -> float:
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names.values())
    found = DEFAULT.open(opened.SerializeToString()).tensors(images.numpy(), list(names.values()))
    differences = [0.0]

    def follow(integers: Tensor) -> Any:
        def compare(step: Step, _: Any, result: Tensor) -> Tensor:
            ours = (result / step.size() + step.zero).round()
            differences.append(float((ours - integers).abs().mean()))
            return (integers - step.zero) * step.size()

        return compare

    for key, name in names.items():
        network.values[key].register_forward_hook(follow(torch.from_numpy(found[name]).float()))
    deployed(images)
    return max(differences)

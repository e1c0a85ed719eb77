"""The content of an ONNX file, for the factory `espalier:onnx`."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.build import build
from espalier.models.onnx_graph import OPERATORS

FACTORY = "espalier:onnx"


@dataclass(frozen=True)
class OnnxProgram:
    """The content of an ONNX file.

    Attributes:
        arguments: arguments of `espalier:onnx`.
        tensors: weights by the names of the network that the factory builds.
        classes: number of outputs.
        shape: shape of an input of the network, channels first.
        batch: number of examples that the file takes at once; None for any number.
        channels_last: whether the file takes images (N, H, W, C).
        left_out: last operator of the file, `Softmax` or `Sigmoid`, which the network leaves out, because
            the task has it; empty for none.
        notes: sentences about what was changed on the way.
    """

    arguments: dict[str, Any]
    tensors: dict[str, Tensor]
    classes: int
    shape: tuple[int, ...]
    batch: int | None = None
    channels_last: bool = False
    left_out: str = ""
    notes: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """The network with its weights, in evaluation mode."""
        network = build(
            FACTORY, classes=self.classes, shape=self.shape, arguments=self.arguments
        ).eval()
        network.load_state_dict(self.tensors)
        return network

    def with_outputs(self, classes: int) -> "OnnxProgram":
        """The same network with a last layer of another number of outputs, whose weights do not fit.

        Raises:
            BadInput: if the network does not end in a linear layer.
        """
        *steps, last = self.arguments["steps"]
        if last["operator"] != "Linear":
            raise BadInput(
                "Expected an ONNX file whose network ends in a linear layer, for `head: new`; found "
                f"{last['operator']}."
            )
        head = {**last, "attributes": {**last["attributes"], "out_features": classes}}
        return replace(self, classes=classes, arguments={**self.arguments, "steps": [*steps, head]})

    def file_inputs(self, inputs: Tensor) -> Tensor:
        """The inputs (N, C, H, W) of the network, in the order of dimensions that the file takes."""
        return inputs.movedim(1, -1).contiguous() if self.channels_last else inputs.contiguous()

    def file_outputs(self, outputs: Tensor) -> Tensor:
        """The outputs (N, classes) of the network, as the file gives them."""
        return OPERATORS[self.left_out](outputs) if self.left_out else outputs

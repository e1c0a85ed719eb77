"""Networks that torch exported, with their weights apart from the rest of the file.

torch's exporter and protobuf copy a file three times each, so that a network of 550 MB took 3 GB. The
weights are copied once here, and written one after another.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

_BYTES = 2  # protobuf's type of a field whose value is bytes or a message, after their number


@dataclass(frozen=True)
class Exported:
    """An ONNX file in memory.

    Attributes:
        model: content without the data of the initializers.
        weights: data of each initializer, in their order.
    """

    model: onnx.ModelProto
    weights: list[bytes]

    @classmethod
    def of(cls, network: nn.Module, inputs: tuple[Any, ...], **options: Any) -> "Exported":
        """Export a network; the options are those of `torch.onnx.export`."""
        content = io.BytesIO()
        with _weights_apart() as weights:
            torch.onnx.export(network, inputs, content, **options)  # type: ignore[arg-type]  # torch's stub knows paths alone
        model = onnx.load_model_from_string(content.getvalue())
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")
        return cls(model, [weights.pop(tensor.name) for tensor in model.graph.initializer])

    def save(self, path: Path) -> None:
        """Write the file; it has the bytes that `onnx.save` writes of a model that holds its weights."""
        graph, tensors = self.model.graph, []
        for tensor, weight in zip(graph.initializer, self.weights, strict=True):
            tensors.append(_with_values(tensor, "raw_data", [[weight]]))
        chunks = _with_values(self.model, "graph", [_with_values(graph, "initializer", tensors)])
        with path.open("wb") as file:
            file.writelines(chunks)


@contextmanager
def _weights_apart() -> Iterator[dict[str, bytes]]:
    """The data of the initializers of networks exported inside the block, by their names in the file.

    torch's exporter can leave them out of the file, as for files of many parts, but has no option for it.
    """
    weights: dict[str, bytes] = {}
    whole = torch._C.Graph._export_onnx  # type: ignore[attr-defined]

    def apart(graph: Any, parameters: Any, opset: Any, axes: Any, _: bool, *options: Any) -> Any:
        content, found, *more = whole(graph, parameters, opset, axes, True, *options)
        weights.update(found)
        return content, {}, *more

    torch._C.Graph._export_onnx = apart  # type: ignore[attr-defined]
    try:
        yield weights
    finally:
        torch._C.Graph._export_onnx = whole  # type: ignore[attr-defined]


def _with_values(message: Any, name: str, values: Sequence[list[bytes]]) -> list[bytes]:
    """The bytes of a message, in chunks, with the values of one of its fields given as chunks.

    Protobuf writes fields in the order of their numbers, and before each value its number and length
    (https://protobuf.dev/programming-guides/encoding).
    """
    number = message.DESCRIPTOR.fields_by_name[name].number
    before, after = type(message)(), type(message)()
    before.CopyFrom(message)
    after.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number >= number:
            before.ClearField(field.name)
        if field.number <= number:
            after.ClearField(field.name)
    chunks = [before.SerializeToString()]
    for value in values:
        chunks += [_varint(number << 3 | _BYTES), _varint(sum(map(len, value))), *value]
    return [*chunks, after.SerializeToString()]


def _varint(value: int) -> bytes:
    """An integer in groups of seven bits, lowest first; all but the last have the eighth bit set."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])

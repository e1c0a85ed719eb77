"""Recurrent layers in deployed files: ONNX Runtime executes LSTMs alone in integers."""

import onnx

_RECURRENT = ("GRU", "LSTM", "RNN")


def recurrent_notes(model: onnx.ModelProto) -> tuple[str, ...]:
    """A sentence for each kind of recurrent layer that is left in floating point.

    Args:
        model: quantized file. An LSTM in integers is a node `DynamicQuantizeLSTM`.
    """
    left = sorted({node.op_type for node in model.graph.node} & set(_RECURRENT))
    return tuple(_note(kind) for kind in left)


def _note(kind: str) -> str:
    if kind == "LSTM":
        return "LSTM layers stay in float32: `scheme: dynamic` has them in integers."
    return f"{kind} layers stay in float32: ONNX Runtime has no {kind} in integers."

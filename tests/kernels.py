"""The kernels that ONNX Runtime chooses for a file."""

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime


def kernels(model: onnx.ModelProto, path: Path) -> Counter[str]:
    """How often each operator runs after ONNX Runtime has fused what it can."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Counter(node.op_type for node in onnx.load(path).graph.node)

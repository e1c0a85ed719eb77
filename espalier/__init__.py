"""Distil, prune, quantize and judge neural networks, as a pipeline or as a library.

Importing it sets `ORT_DISABLE_TELEMETRY=1`, unless the variable is set: ONNX Runtime otherwise writes
a device id and events below the user's cache folder and looks up servers to send them to.
"""

import os

__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported

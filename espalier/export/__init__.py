"""Export to ONNX: the deployed file maps stored inputs to outputs."""

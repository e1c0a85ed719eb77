"""What is shipped: ONNX files from pixels to logits, and the runtime that executes them."""

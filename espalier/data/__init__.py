"""Data: found, checked, split, and kept as tensors whose hashes are known."""

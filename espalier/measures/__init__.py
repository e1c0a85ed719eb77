"""Measures: work, size, accuracy and latency."""

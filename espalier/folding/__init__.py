"""Folding: layers that can be computed as fewer, and blocks so alike that one can do."""

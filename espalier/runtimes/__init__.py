"""Runtimes: who executes a deployed file."""

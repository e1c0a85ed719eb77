"""Live metrics: runs in MLflow that show a training while it is running.

A process of its own, the live worker, logs them: `worker_command` starts it. It reads on its
standard input one JSON object per line, an epoch of a training or the end of a stage.
"""

from espalier.registry.live.command import worker_command
from espalier.registry.live.live_logger import LiveLogger
from espalier.registry.live.live_runs import (
    FAILED,
    FINISHED,
    KILLED,
    LEASE_TAG,
    RUNNING,
    reconcile,
)

__all__ = [
    "FAILED",
    "FINISHED",
    "KILLED",
    "LEASE_TAG",
    "RUNNING",
    "LiveLogger",
    "reconcile",
    "worker_command",
]

"""The registry: every model as a version in MLflow, derived from the files and repeatable at any time.

Six rooms, each with a face that other packages import:

| package | contents |
|---|---|
| `connection` | the store, its lock, names, leases of writing processes |
| `versions` | model folders as versions: content hash, logging, completeness, download |
| `live` | metrics of trainings that are running |
| `promotion` | aliases: gates, compare-and-swap, audit, copies into other registered models |
| `memos` | what checks of a local store have found, while it is the same |
| `recovery` | audit and aliases restored from files, backups |

MLflow is imported by the functions that contact a store, not by importing this package: its import
takes two seconds.
"""

from espalier.registry.register import (
    Registered,
    is_registered,
    missing,
    register,
    remember_check,
)

__all__ = ["Registered", "is_registered", "missing", "register", "remember_check"]

"""The tracking store: finding it, connecting to it, the names it accepts, and leases of the processes that write."""

from espalier.leases import (
    expired_leases,
    hold_lease,
    is_active,
    remove_lease,
)
from espalier.registry.connection.local_database import keep_artifacts_in, set_journals_aside
from espalier.registry.connection.names import check_name
from espalier.registry.connection.store import Store, connect, find_store, locked

__all__ = [
    "Store",
    "check_name",
    "connect",
    "expired_leases",
    "find_store",
    "hold_lease",
    "is_active",
    "keep_artifacts_in",
    "locked",
    "remove_lease",
    "set_journals_aside",
]

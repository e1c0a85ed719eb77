"""Python's collector of cyclic garbage, paused while modules are imported."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Import modules without collections, and keep what was made from all later ones.

    The collector walks the growing heap again and again and finds nothing, since modules stay: without it,
    importing Prefect's server takes 3.3 s of processor time instead of 4.2 s.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()

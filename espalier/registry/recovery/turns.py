"""Turns of machines that restore the same registered model on a server."""

import contextlib
import time
from collections.abc import Iterator

from espalier.errors import TryAgain
from espalier.registry.versions import Registry
from espalier.registry.versions.registry import ignoring

_GONE = "RESOURCE_DOES_NOT_EXIST"  # another machine has just ended its turn
_EXPIRES_AFTER = 600_000  # milliseconds; a restoration takes seconds


@contextlib.contextmanager
def take_turns(registry: Registry) -> Iterator[None]:
    """Keep other machines from restoring the same registered model while the block runs.

    MLflow has no locks, but it gives the name of a registered model once, also to concurrent clients: an
    empty registered model is the lock. That of a crashed process is removed after ten minutes. A local
    store is locked already.

    Raises:
        TryAgain: If another machine is restoring.
    """
    if registry.store.is_local:
        yield
        return
    name = f"{registry.name[:200]}.restoring"
    _acquire(registry, name)
    try:
        yield
    finally:
        registry.client.delete_registered_model(name)


def _acquire(registry: Registry, name: str) -> None:
    """Make the empty model.

    Raises:
        TryAgain: If another machine is restoring.
    """
    while not _make(registry, name):
        began = _began(registry, name)
        if time.time() * 1000 - began < _EXPIRES_AFTER:
            raise TryAgain(
                f"Expected no other restoration of {registry.name} in {registry.store.shown}; found one that "
                "began less than ten minutes ago."
            )
        with ignoring(_GONE):
            registry.client.delete_registered_model(name)


def _make(registry: Registry, name: str) -> bool:
    """Make the empty model; False if there is one."""
    from mlflow.exceptions import MlflowException

    try:
        registry.client.create_registered_model(name, description="A restoration is running.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


def _began(registry: Registry, name: str) -> float:
    """When the empty model was made, in milliseconds since 1970; 0 if it is gone by now."""
    with ignoring(_GONE):
        return float(registry.client.get_registered_model(name).creation_timestamp)
    return 0.0

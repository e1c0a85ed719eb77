"""Notification of a failed run, at the address for moved aliases."""

from pathlib import Path

from espalier import paths
from espalier.errors import EspalierError
from espalier.params import read_params
from espalier.registry.promotion import send_failure


def notify(folder: str, message: str) -> None:
    """Send the sentences of a failed run to `registry.webhook`, if the project names an address."""
    try:
        registry = read_params(paths.root(Path(folder))).registry
    except EspalierError:
        return  # parameters that cannot be read name no address
    send_failure(registry.webhook, registry.name, message)

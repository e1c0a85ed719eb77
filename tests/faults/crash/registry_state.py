"""The content of a registry that does not depend on when, or how often, it was written."""

from pathlib import Path
from typing import Any


def read(root: Path) -> dict[str, Any]:
    """The registry: the content hash of each version, the versions of the aliases, the moves by state.

    `audit` holds a sentence for each alteration of the audit, and each alias that moved past it.
    """
    from espalier.params import read_params
    from espalier.registry.connection import connect, find_store
    from espalier.registry.promotion import Audit, check_audit, moved_past_audit
    from espalier.registry.versions import Registry

    name = read_params(root).registry.name
    store = find_store(root)
    with connect(store) as client:
        versions = client.search_model_versions(f"name = '{name}'")
        aliases = dict(client.get_registered_model(name).aliases)
        moves = Audit(client, name).moves()
        registry = Registry(client, store, name)
        audit = [check_audit(registry), *moved_past_audit(registry)]
    return {
        "versions": sorted(version.tags["espalier.content"] for version in versions),
        "content": {str(version.version): version.tags["espalier.content"] for version in versions},
        "aliases": {alias: str(version) for alias, version in aliases.items()},
        "moves": [str(move.state) for move in moves],
        "audit": [sentence for sentence in audit if sentence],
    }

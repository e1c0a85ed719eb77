"""`espalier rollback`: let an alias stand where it stood before."""

import sys
import tempfile
from pathlib import Path

from espalier.errors import BadInput
from espalier.params import read_params
from espalier.registry.connection.names import check_name
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion.audit import Audit, Move, State
from espalier.registry.promotion.move_alias import Swap, stood, swap, where
from espalier.registry.promotion.webhook import tell
from espalier.registry.versions.fetch import fetch
from espalier.registry.versions.registry import Registry


def run(
    root: Path,
    alias: str = "champion",
    to: str | None = None,
    within: str | None = None,
    at: str | None = None,
) -> Move:
    """Move an alias back, by the same way as a promotion.

    Args:
        root: The project.
        alias: Which.
        to: A version that bore it before; where it stood last by default.
        within: The registered model; the project's by default.
        at: The store that it is in, as in `MLFLOW_TRACKING_URI`; the project's by default.

    Returns:
        The line of the audit.

    Raises:
        BadInput: If there is nothing to go back to, the version never bore the alias, or its files are not intact.
        OvertakenError: If somebody else moved the alias meanwhile.
    """
    store, settings = find_store(root, at), read_params(root).registry
    name = settings.name if within is None else check_name(within)
    with connect(store, make=False) as client:
        registry = Registry(client, store, name, "")
        now = where(client, name, alias)
        to = to or stood(client, name, alias)
        if now is None or to is None or to == now:
            raise BadInput(
                f"{name}@{alias} should have stood somewhere else before. Found no such version."
            )
        # only what has passed the gates may bear the alias: its promotion is in the audit
        passed = [
            move
            for move in Audit(client, name).moves()
            if move.alias == alias and move.to == to and move.state is State.DONE
        ]
        if not passed:
            raise BadInput(
                f"Version {to} of {name} should have borne the alias {alias!r} before. Found that it never did."
            )
        with tempfile.TemporaryDirectory() as folder:
            content = fetch(registry, to, Path(folder))
        if content != passed[-1].content:
            raise BadInput(
                f"Version {to} of {name} should hold {passed[-1].content[:12]}, which was promoted. "
                f"Found {content[:12]}."
            )
        former = client.get_model_version(name, now).tags.get("espalier.content")
        wish = Swap(alias, now, to, content, former, "rolled back", passed[-1].run)
        move = swap(client, name, wish, alone=store.database is not None)
    tell(settings.webhook, name, move)
    sys.stdout.write(f"{name}@{alias} is version {move.to} again; it was version {move.former}\n")
    return move

"""Rollback: move an alias back to a version that it had before."""

import sys
import tempfile
from pathlib import Path

from espalier.errors import BadInput
from espalier.params import read_params
from espalier.registry.connection import check_name, connect, find_store
from espalier.registry.promotion.alias_moves import (
    AliasMove,
    move_alias,
    previous_version,
    version_of_alias,
)
from espalier.registry.promotion.audit import ROLLED_BACK, Audit, Move, State
from espalier.registry.promotion.audit_sync import sync_audit
from espalier.registry.promotion.rolled_back import way_on
from espalier.registry.promotion.webhook import send_webhook
from espalier.registry.versions import Registry, fetch


def rollback(
    root: Path,
    alias: str = "champion",
    to: str | None = None,
    within: str | None = None,
    at: str | None = None,
) -> Move:
    """Move an alias back, by the same compare-and-swap as a promotion.

    Args:
        root: The project.
        alias: Name of the alias.
        to: A version that the alias had before; its previous version by default.
        within: Name of the registered model; the project's by default.
        at: Address of its store, in the form of `MLFLOW_TRACKING_URI`; the project's store by
            default.

    Returns:
        The line of the audit.

    Raises:
        BadInput: If there is no previous version, the alias never had version `to`, or its files
            changed.
        ConcurrentMoveError: If another process moved the alias meanwhile.
    """
    store, settings = find_store(root, at), read_params(root).registry
    name = settings.name if within is None else check_name(within)
    with connect(store, make=False) as client:
        registry = Registry(client, store, name)
        sync_audit(registry)
        current = version_of_alias(registry, alias)
        target = to or previous_version(registry, alias)
        if to is not None and to == current:
            raise BadInput(
                f"Expected an earlier version of {name}@{alias}; found version {to}, which it has now."
            )
        if current is None or target is None or target == current:
            raise _nothing_before(f"{name}@{alias}", current)
        promotion = _promotion_of(registry, alias, target)
        _check_files(registry, promotion)
        former = client.get_model_version(name, current).tags.get("espalier.content")
        request = AliasMove(
            alias=alias,
            expected=current,
            to=target,
            content=promotion.content,
            former_content=former,
            reason=ROLLED_BACK,
            run=promotion.run,
            entry=promotion.entry,
            report=promotion.report,
        )
        move = move_alias(registry, request)
    send_webhook(settings.webhook, name, move)
    sys.stdout.write(f"{name}@{alias} is version {move.to} again; it was version {move.former}\n")
    sys.stdout.write(
        f"No promotion moves it to the content of version {move.former} again: "
        f"{way_on(registry, alias, settings.name)}\n"
    )
    return move


def _nothing_before(alias: str, current: str | None) -> BadInput:
    """The refusal of a rollback where there was no other version."""
    had = "it names no version" if current is None else f"it has had version {current} alone"
    return BadInput(
        f"Expected an earlier version of {alias} in the audit; found none: {had}. "
        "`espalier models` lists its moves."
    )


def _promotion_of(registry: Registry, alias: str, version: str) -> Move:
    """The last finished move of an alias to a version: the proof that the version passed the gates.

    Raises:
        BadInput: If there is none.
    """
    moves = Audit(registry.client, registry.name).moves(alias)
    finished = [move for move in moves if move.to == version and move.state is State.DONE]
    if not finished:
        raise BadInput(
            f"Expected a version of {registry.name} that had the alias {alias!r} before; "
            f"found version {version}, which never had it."
        )
    return finished[-1]


def _check_files(registry: Registry, promotion: Move) -> None:
    """Check that a version still has the files that were promoted."""
    with tempfile.TemporaryDirectory() as folder:
        content = fetch(registry, promotion.to, Path(folder))
    if content != promotion.content:
        raise BadInput(
            f"Expected version {promotion.to} of {registry.name} to hold "
            f"{promotion.content[:12]}, which was promoted; found {content[:12]}."
        )

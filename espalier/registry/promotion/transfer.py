"""`espalier promote --into NAME`: let an alias of another registered model stand at a copy of who bears it here."""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from espalier.data.prepared import Split, data_hash, read_split
from espalier.errors import BadInput
from espalier.gates import Figures, Gates, Policy, Verdict, judge, read_policies
from espalier.judging import compare
from espalier.params import Params, read_params
from espalier.paths import DATASET, GATES, PREPARED
from espalier.registry.connection.names import check_name
from espalier.registry.connection.store import Store, connect, find_store
from espalier.registry.promotion.evaluator import answer
from espalier.registry.promotion.gate_evidence import REPORT
from espalier.registry.promotion.gate_report import as_json, refusal, show
from espalier.registry.promotion.move_alias import Swap, finish, swap, where
from espalier.registry.promotion.release import Release, copy, take
from espalier.registry.promotion.webhook import tell
from espalier.registry.versions.fetch import fetch
from espalier.registry.versions.registry import Registry, open_registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from espalier.registry.promotion.audit import Move

_COMPARISON = "comparison.json"  # beside the gate report, in the run of a copy


@dataclass(frozen=True)
class _Order:
    """What is to be taken where.

    Attributes:
        root: The project.
        params: Its parameters.
        alias: What is to be moved there.
        policy: Its gates.
        into: The registered model.
        shipment: Who bears it here.
        draft: A folder for what is fetched there.
    """

    root: Path
    params: Params
    alias: str
    policy: Policy
    into: str
    shipment: Release
    draft: Path


@dataclass(frozen=True)
class _Champion:
    """Who bears the alias there: its version, the hash of its files, and where they were fetched to."""

    version: str
    content: str
    folder: Path


def run(root: Path, into: str, at: str | None = None, alias: str = "champion") -> "list[Move]":
    """Copy who bears an alias into another registered model, and move the alias there if it is not worse.

    The project's own registry is only read.

    Args:
        root: The project.
        into: The other registered model.
        at: The store that it is in, as in `MLFLOW_TRACKING_URI`; the project's by default.
        alias: Which.

    Returns:
        The move in the other one's audit; none if the alias stands at this content there already.

    Raises:
        BadInput: If the version here did not pass its gates by a finished promotion, or its files or the data are not
            those that were judged.
        RefusedError: If it may be worse than who bears the alias there.
        OvertakenError: If somebody else moved the alias there meanwhile.
    """
    params, policies = read_params(root), read_policies(root / GATES)
    here, there, name = find_store(root), find_store(root, at), params.registry.name
    if alias not in policies:
        raise BadInput(
            f"The alias should be one that {GATES} has gates for: {', '.join(policies)}. Found {alias!r}."
        )
    if check_name(into) == name and there.uri == here.uri:
        raise BadInput(
            f"--into should name another registered model than the project's. Found {into!r}."
        )
    with tempfile.TemporaryDirectory() as drafts:
        draft = Path(drafts)
        with connect(here, make=False) as client:
            shipment = take(Registry(client, here, name, ""), alias, draft / "model")
        with connect(there) as client:
            move = _deliver(
                client, there, _Order(root, params, alias, policies[alias], into, shipment, draft)
            )
    if move is None:
        return []
    tell(params.registry.webhook, into, move)
    former = f"; it was version {move.former}" if move.former else ""
    _say(f"{into}@{alias} is version {move.to} now: {shipment.model.entry}, {move.reason}{former}")
    return [move]


def _deliver(client: "MlflowClient", there: Store, order: _Order) -> "Move | None":
    shipment, alone = order.shipment, there.database is not None
    finish(client, order.into, alone=alone)
    bearer = _bearer(Registry(client, there, order.into, ""), order)
    if bearer and bearer.content == shipment.model.content:
        _say(
            f"{order.into}@{order.alias} stays at version {bearer.version}: {shipment.model.entry}, as it is here"
        )
        return None
    figures = _figures(order, bearer)
    verdicts = judge(Gates(champion_drop=order.policy.gates.champion_drop), figures)
    registry = open_registry(client, there, order.into)
    run = _keep(registry, order, figures, verdicts)
    if not all(verdict.passed for verdict in verdicts):
        placed = f"{order.into}@{order.alias}"
        raise refusal(placed, bearer.version if bearer else None, {shipment.model.entry: verdicts})
    version = _arrived(registry, copy(registry, shipment), order)
    wish = Swap(
        alias=order.alias,
        expected=bearer.version if bearer else None,
        to=version,
        content=shipment.model.content,
        former_content=bearer.content if bearer else None,
        reason=f"copied from {shipment.origin}",
        run=run,
    )
    return swap(client, order.into, wish, alone=alone)


def _bearer(registry: Registry, order: _Order) -> _Champion | None:
    version = where(registry.client, registry.name, order.alias)
    if version is None:
        return None
    folder = order.draft / "bearer"
    return _Champion(version, fetch(registry, version, folder), folder)


def _figures(order: _Order, bearer: _Champion | None) -> Figures:
    """What the gate report found, and how much may be lost against who bears the alias there, on the same images."""
    recorded = order.shipment.approval.figures
    test = _test(order, recorded.current_data)
    lost = None
    if bearer is not None:
        ours, theirs = (
            answer(folder, test, order.params.evaluation)
            for folder in (order.shipment.model.folder, bearer.folder)
        )
        lost = compare(test.targets.numpy(), ours, theirs).drop.high
    return replace(recorded, champion_drop=lost)


def _test(order: _Order, judged: str) -> Split:
    """The test split, if it is that of the gate report: what cannot be compared may not pass."""
    prepared = order.root / PREPARED
    found = data_hash(prepared) if (prepared / DATASET).is_file() else ""
    if found != judged:
        raise BadInput(
            f"{PREPARED}/ should be the data {judged[:12]} on which {order.shipment.origin} passed its gates, to judge "
            f"it by. Found {found[:12] or 'none: `espalier prepare` first'}."
        )
    return read_split(prepared, "test")


def _keep(registry: Registry, order: _Order, figures: Figures, verdicts: list[Verdict]) -> str:
    """Print the comparison, and keep it in a run, beside the gate report that came with the version."""
    entry, content = order.shipment.model.entry, order.shipment.model.content
    passed = all(verdict.passed for verdict in verdicts)
    chosen = entry if passed else None
    show({entry: verdicts}, chosen)
    compared = as_json(order.alias, {entry: verdicts}, {entry: figures}, {entry: content}, chosen)
    run = registry.client.create_run(
        registry.experiment, run_name=f"copy {order.alias}"
    ).info.run_id
    registry.client.log_dict(run, compared, _COMPARISON)
    registry.client.log_text(run, order.shipment.approval.text, REPORT)
    registry.client.set_terminated(run, "FINISHED" if passed else "FAILED")
    return str(run)


def _arrived(registry: Registry, version: str, order: _Order) -> str:
    """The version, if the files that it has there are those that left."""
    content = fetch(registry, version, order.draft / "arrived")
    if content != order.shipment.model.content:
        raise BadInput(
            f"Version {version} of {registry.name} should hold {order.shipment.model.content[:12]}, a copy of "
            f"{order.shipment.origin}. Found {content[:12]}."
        )
    return version


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")

"""Promotion into another registered model: copy the current champion there, and move that model's alias to the copy."""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from espalier.data.prepared import Split, data_hash, read_dataset, read_split
from espalier.errors import BadInput
from espalier.gates import Figures, Gates, Policy, judge
from espalier.params import Params, read_params
from espalier.paths import DATASET, PREPARED
from espalier.registry.connection import Store, check_name, connect, find_store
from espalier.registry.promotion.alias_moves import (
    AliasMove,
    complete_unfinished_moves,
    move_alias,
)
from espalier.registry.promotion.audit import REPORT, Move
from espalier.registry.promotion.audit_chain import sha256
from espalier.registry.promotion.audit_file import AuditFile
from espalier.registry.promotion.audit_sync import check_audit, sync_audit
from espalier.registry.promotion.champion import Champion, fetch_champion
from espalier.registry.promotion.evaluator import answer, champion_drop, test_hash
from espalier.registry.promotion.gate_report import (
    Candidate,
    as_json,
    print_report,
    refusal,
)
from espalier.registry.promotion.policies import read_policy
from espalier.registry.promotion.release import Release, export_release, import_release
from espalier.registry.promotion.rolled_back import barred
from espalier.registry.promotion.split_uses import find_use, report_use, tags_of
from espalier.registry.promotion.webhook import send_webhook
from espalier.registry.versions import Registry, open_registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

_COMPARISON = "comparison.json"  # beside the gate report, in the run of a copy


@dataclass(frozen=True)
class _Transfer:
    """A requested copy.

    Attributes:
        root: The project.
        params: content of `params.yaml`.
        alias: Alias to move in the receiving registered model.
        policy: Policy of the alias.
        into: Name of the receiving registered model.
        release: The current champion of the project.
        draft: Folder for downloads from the receiving store.
        again: Reason to copy a content from which the alias there was rolled back.
    """

    root: Path
    params: Params
    alias: str
    policy: Policy
    into: str
    release: Release
    draft: Path
    again: str | None

    @property
    def address(self) -> str:
        """The alias that is moved, with its registered model."""
        return f"{self.into}@{self.alias}"

    @property
    def reason(self) -> str:
        """The reason of the move."""
        copied = f"copied from {self.release.origin}"
        return f"{copied} again: {self.again}" if self.again else copied

    @property
    def model_entry(self) -> str:
        """Entry of the released model."""
        return self.release.model.entry


def promote_elsewhere(
    root: Path,
    into: str,
    at: str | None = None,
    alias: str = "champion",
    again: str | None = None,
) -> Move | None:
    """Copy the current champion to another registered model and point that model's alias at the copy.

    The champion is copied only if it is not worse than the champion there. The project's own
    registry is only read.

    Args:
        root: The project.
        into: Name of the other registered model.
        at: Address of its store, in the form of `MLFLOW_TRACKING_URI`; the project's store by
            default.
        alias: Name of the alias, here and there.
        again: Reason to copy a content from which the alias there was rolled back.

    Returns:
        The line in the audit of the other registered model; None if the alias points to this
        content there already.

    Raises:
        BadInput: If there is no evidence that the champion passed its gates, its files or the data
            changed, or file and store disagree about the audit, here or there.
        RefusedError: If it may be worse than the champion there.
        ConcurrentMoveError: If another process moved the alias there meanwhile.
    """
    params = read_params(root)
    policy = read_policy(root, alias)
    here, there = find_store(root), find_store(root, at)
    if check_name(into) == params.registry.name and there.uri == here.uri:
        raise BadInput(
            f"Expected --into to name another registered model than the project's; found {into!r}."
        )
    with tempfile.TemporaryDirectory() as draft:
        folder = Path(draft)
        with connect(here, make=False) as client:
            own = Registry(client, here, params.registry.name)
            problem = check_audit(own)
            if problem:
                raise BadInput(problem)
            release = export_release(own, alias, folder / "model")
        transfer = _Transfer(
            root,
            params,
            alias,
            policy,
            into,
            release,
            folder,
            again,
        )
        if there.is_missing:
            _judge_release(transfer, None)  # a refusal leaves no empty database
        # where the files have moves of it, the database was lost
        has_moves = AuditFile.of(there, into).path.exists()
        with connect(there, make=not has_moves) as client:
            move = _deliver(client, there, transfer)
    if move is not None:
        send_webhook(params.registry.webhook, into, move)
        former = f"; it was version {move.former}" if move.former else ""
        _print(
            f"{transfer.address} is version {move.to} now: "
            f"{transfer.model_entry}, {move.reason}{former}"
        )
    return move


def _deliver(client: "MlflowClient", there: Store, transfer: _Transfer) -> Move | None:
    """Judge the release against the champion of the receiving model, import it, and move the alias."""
    # nothing is created in the receiving store before the release is judged
    reader = Registry(client, there, transfer.into)
    complete_unfinished_moves(reader)
    sync_audit(reader)
    champion = fetch_champion(reader, transfer.alias, transfer.draft / "champion")
    if champion and champion.content == transfer.release.model.content:
        _print(
            f"{transfer.address} stays at version {champion.version}: "
            f"{transfer.model_entry}, as it is here"
        )
        return None
    project = transfer.params.registry.name
    refused = {} if transfer.again else barred(reader, transfer.alias, project)
    rollback = refused.get(transfer.release.model.content, "")
    candidate = _judge_release(transfer, champion, rollback)
    print_report([candidate], candidate.entry if candidate.passed else None)
    registry = open_registry(client, there, transfer.into)
    run = _log_reports(registry, transfer, candidate)
    if not candidate.passed:
        raise refusal(transfer.address, champion.version if champion else None, [candidate])
    request = AliasMove(
        alias=transfer.alias,
        expected=champion.version if champion else None,
        to=import_release(registry, transfer.release, transfer.draft / "imported"),
        content=candidate.content,
        former_content=champion.content if champion else None,
        reason=transfer.reason,
        run=run,
        entry=candidate.entry,
        report=sha256(transfer.release.evidence.text),
    )
    return move_alias(registry, request)


def _judge_release(transfer: _Transfer, champion: Champion | None, rollback: str = "") -> Candidate:
    """Judge the release by the gate `champion_drop`, against the champion of the receiving model.

    Args:
        transfer: The request.
        champion: The champion there; None if there is none.
        rollback: Rollback from this content there, in words; empty if there was none.
    """
    figures = replace(_figures(transfer, champion), rolled_back=rollback)
    gates = Gates(champion_drop=transfer.policy.gates.champion_drop)
    model = transfer.release.model
    return Candidate(model.entry, model.content, figures, judge(gates, figures))


def _figures(transfer: _Transfer, champion: Champion | None) -> Figures:
    """The values of the gate report, with the drop from the champion there, on the same test split."""
    recorded = transfer.release.evidence.figures
    test = _read_test_split(transfer, recorded.current_data)
    if champion is None:
        return replace(recorded, champion_drop=None, current_classes=None)
    dataset = read_dataset(transfer.root / PREPARED)
    evaluation = transfer.params.evaluation
    own, theirs = (
        answer(folder, test, evaluation, dataset)
        for folder in (transfer.release.model.folder, champion.folder)
    )
    drop = champion_drop(own, theirs)
    return replace(recorded, champion_drop=drop, current_classes=theirs.classes)


def _read_test_split(transfer: _Transfer, judged_data: str) -> Split:
    """Read the test split.

    Raises:
        BadInput: If the prepared data are not those of the gate report.
    """
    prepared = transfer.root / PREPARED
    has_data = (prepared / DATASET).is_file()
    found = data_hash(prepared) if has_data else ""
    if found != judged_data:
        shown = found[:12] if found else "none. Run `espalier prepare` first"
        raise BadInput(
            f"Expected {PREPARED}/ to be the data {judged_data[:12]} on which "
            f"{transfer.release.origin} passed its gates; found {shown}."
        )
    return read_split(prepared, "test")


def _log_reports(registry: Registry, transfer: _Transfer, candidate: Candidate) -> str:
    """Store the comparison in a run, beside the gate report of the release; MLflow's id of the run."""
    client, alias = registry.client, transfer.alias
    split = test_hash(read_dataset(transfer.root / PREPARED))
    use = find_use(registry, split, [candidate.content])
    report_use(use, transfer.policy.reuse_warning)
    comparison = as_json(alias, [candidate], candidate.entry if candidate.passed else None, use)
    tags, name = tags_of(use, [candidate]), f"copy {alias}"
    run = str(client.create_run(registry.experiment, run_name=name, tags=tags).info.run_id)
    client.log_dict(run, comparison, _COMPARISON)
    client.log_text(run, transfer.release.evidence.text, REPORT)
    client.set_terminated(run, "FINISHED" if candidate.passed else "FAILED")
    return run


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")

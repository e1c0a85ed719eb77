"""Promotion: judge all candidates of an alias, and move the alias to the best one that passes its gates."""

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from espalier.errors import BadInput
from espalier.gates import Policy, SplitUse, choose, judge, read_policies, record_use
from espalier.params import read_params
from espalier.paths import GATES
from espalier.registry.connection import connect, find_store
from espalier.registry.promotion.alias_moves import (
    AliasMove,
    complete_unfinished_moves,
    move_alias,
    version_of_alias,
)
from espalier.registry.promotion.audit import REPORT, Move
from espalier.registry.promotion.audit_chain import sha256
from espalier.registry.promotion.audit_sync import sync_audit
from espalier.registry.promotion.champion import Champion, content_of, fetch_champion
from espalier.registry.promotion.correction import correct
from espalier.registry.promotion.errors import RefusedError
from espalier.registry.promotion.evaluator import Evaluator
from espalier.registry.promotion.gate_report import (
    Candidate,
    as_json,
    print_report,
    refusal,
)
from espalier.registry.promotion.policies import read_policy, refuse_entries
from espalier.registry.promotion.split_uses import find_use, report_use, tags_of
from espalier.registry.promotion.webhook import send_webhook
from espalier.registry.versions import (
    Model,
    Registry,
    fetch,
    model_filter,
    open_registry,
    quoted,
    read_model,
)


def promote(
    root: Path, alias: str | None = None, *, without_champion: str | None = None
) -> list[Move]:
    """Judge all candidates, and move the aliases of `mlflow/gates.yaml` that a better model may get.

    Args:
        root: The project.
        alias: The only alias to move; all by default.
        without_champion: Reason to judge without a champion whose files are lost; it is in the audit.

    Returns:
        The moves that were made; an alias that points to the chosen model already is not moved, unless the
        files of its version are damaged.

    Raises:
        BadInput: If the policy, the reports or the registry are not as expected.
        RefusedError: If no candidate passes, for at least one alias; the other aliases were moved.
        ConcurrentMoveError: If another process moved the alias meanwhile.
    """
    policies = {alias: read_policy(root, alias)} if alias else read_policies(root / GATES)
    params = read_params(root)
    refuse_entries(policies, params.names)
    evaluator = Evaluator.open(root, params)
    moves, refusals = [], []
    for name, policy in policies.items():
        try:
            move = _promote_alias(evaluator, name, policy, without_champion)
        except RefusedError as error:
            refusals.append(str(error))
            continue
        if move is not None:
            moves.append(move)
    if refusals:
        raise RefusedError("\n".join(refusals))
    return moves


def _promote_alias(
    evaluator: Evaluator, alias: str, policy: Policy, without: str | None
) -> Move | None:
    """Promote the best candidate of one alias; None if the alias points to it already."""
    store = find_store(evaluator.root)
    settings = evaluator.params.registry
    with tempfile.TemporaryDirectory() as draft, connect(store) as client:
        registry = open_registry(client, store, settings.name)
        complete_unfinished_moves(registry)
        sync_audit(registry)
        champion = _champion(registry, alias, Path(draft, "champion"), without)
        version = champion.version if champion else version_of_alias(registry, alias)
        candidates = _judge_candidates(registry, evaluator, policy, champion)
        chosen = _choose(candidates, policy)
        use = _say_use(registry, evaluator, policy, candidates, chosen)
        if chosen and champion and _is_at(champion, chosen):
            sys.stdout.write(
                f"{settings.name}@{alias} stays at version {champion.version}: "
                f"{chosen.entry}, as it is now\n"
            )
            return None
        winner = chosen.entry if chosen else None
        gate_report = as_json(alias, candidates, winner, use, policy.correction)
        run, report = _log_report(registry, gate_report, tags_of(use, candidates))
        if chosen is None:
            raise refusal(f"{settings.name}@{alias}", version, candidates)
        request = AliasMove(
            alias=alias,
            expected=version,
            to=chosen.version,
            content=chosen.content,
            former_content=content_of(registry, version) if version else None,
            reason=f"promoted without the champion: {without}" if without else "promoted",
            run=run,
            entry=chosen.entry,
            report=report,
        )
        move = move_alias(registry, request)
    send_webhook(settings.webhook, settings.name, move)
    former = f"; it was version {move.former}" if move.former else ""
    sys.stdout.write(f"{settings.name}@{alias} is version {move.to} now: {chosen.entry}{former}\n")
    return move


def _say_use(
    registry: Registry,
    evaluator: Evaluator,
    policy: Policy,
    candidates: Sequence[Candidate],
    chosen: Candidate | None,
) -> SplitUse:
    """Print the verdicts and the use of the test split, and record it for the page."""
    print_report(candidates, chosen.entry if chosen else None)
    use = find_use(registry, evaluator.test_hash, [one.content for one in candidates])
    report_use(use, policy.reuse_warning)
    record_use(evaluator.root, use)
    return use


def _champion(registry: Registry, alias: str, folder: Path, without: str | None) -> Champion | None:
    """The champion that candidates are compared with; None without one.

    Raises:
        BadInput: if its files are lost and `without` gives no reason to judge without it, or `without` is
            given although its files are intact.
    """
    try:
        champion = fetch_champion(registry, alias, folder)
    except BadInput as error:
        if without:
            return None
        raise BadInput(
            f"{error} No other version holds the same content. `espalier promote --alias {alias} "
            "--without-champion REASON` judges without it, and writes the reason into the audit."
        ) from None
    if without and champion:
        raise BadInput(
            f"Expected `--without-champion` where the files of {registry.name}@{alias} are lost; found "
            f"version {champion.version} intact: promote without the option."
        )
    return champion


def _is_at(champion: Champion, chosen: Candidate) -> bool:
    """Whether an alias need not move: it is at the chosen content, with intact files."""
    return chosen.content == champion.content and not champion.damaged


def _judge_candidates(
    registry: Registry, evaluator: Evaluator, policy: Policy, champion: Champion | None
) -> list[Candidate]:
    """Judge the registered version of every candidate by the gates of a policy."""
    entries = evaluator.candidates(policy)
    models = [read_model(evaluator.root, evaluator.params, entry) for entry in entries]
    versions = [_registered_version(registry, model) for model in models]
    champion_answers = evaluator.answers(champion.folder) if champion else None
    candidates = []
    for model, version in zip(models, versions, strict=True):
        damage = _damage(registry, version, model)
        figures = evaluator.figures(model.entry, champion_answers, damage)
        figures = replace(figures, current_device=champion.device if champion else "")
        verdicts = judge(policy.gates, figures)
        candidates.append(Candidate(model.entry, model.content, figures, verdicts, version))
    return correct(
        candidates,
        policy,
        lambda one: evaluator.figures_at(one.figures, one.entry, champion_answers),
    )


def _choose(candidates: Sequence[Candidate], policy: Policy) -> Candidate | None:
    """The passing candidate that the policy prefers; None if none passes."""
    passed = {candidate.entry: candidate for candidate in candidates if candidate.passed}
    if not passed:
        return None
    figures = {entry: candidate.figures for entry, candidate in passed.items()}
    return passed[choose(policy.choose, figures)]


def _log_report(
    registry: Registry, report: dict[str, Any], tags: dict[str, str]
) -> tuple[str, str]:
    """Store the gate report in a run with tags; MLflow's id of the run, and the SHA-256 of the report."""
    client, name = registry.client, f"promote {report['alias']}"
    text = json.dumps(report, indent=2)
    run = str(client.create_run(registry.experiment, run_name=name, tags=tags).info.run_id)
    client.log_text(run, text, REPORT)
    client.set_terminated(run, "FINISHED" if report["chosen"] else "FAILED")
    return run, sha256(text)


def _registered_version(registry: Registry, model: Model) -> str:
    """The newest version whose tags name a model; its files are checked later.

    Raises:
        BadInput: If there is none.
    """
    wanted = f"name = {quoted(registry.name)} and {model_filter(model.entry, model.content)}"
    found = [int(one.version) for one in registry.client.search_model_versions(wanted)]
    if not found:
        raise BadInput(
            f"Expected {registry.name} to have a version of {model.entry} as it is now; "
            "found none. Run `espalier register` first."
        )
    return str(max(found))


def _damage(registry: Registry, version: str, model: Model) -> str:
    """The difference between the files of a version and those of the model; empty if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            content = fetch(registry, version, Path(folder))
        except BadInput as error:
            return str(error).replace(f"{folder}/", "")
    return "" if content == model.content else f"version {version} holds {content[:12]}"

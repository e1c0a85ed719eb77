"""Promotion: judge all candidates of an alias, and move the alias to the best one that passes its gates."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from espalier.errors import BadInput, EspalierError
from espalier.gates import Policy, SplitUse, check_names, judge, read_policies, record_use
from espalier.params import read_params
from espalier.paths import GATES
from espalier.registry.connection import connect, find_store
from espalier.registry.memos import State, holds, take_state
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
from espalier.registry.promotion.evaluator import Answers, Evaluator
from espalier.registry.promotion.gate_report import (
    Candidate,
    as_json,
    print_report,
)
from espalier.registry.promotion.judgement import Judgement, choose_candidate
from espalier.registry.promotion.policies import read_policy
from espalier.registry.promotion.rolled_back import barred
from espalier.registry.promotion.split_uses import find_use, report_use, tags_of
from espalier.registry.promotion.unchanged import MEMO, Unchanged
from espalier.registry.promotion.webhook import send_webhook
from espalier.registry.versions import (
    Model,
    Registry,
    fetch,
    files_of,
    model_filter,
    open_registry,
    quoted,
    read_model,
)


@dataclass(frozen=True)
class Waivers:
    """Reasons, for the audit, to judge otherwise than usual.

    Attributes:
        without_champion: Reason to judge without a champion whose files are lost or take other inputs.
        again: Reason to promote a content from which the alias was rolled back.
    """

    without_champion: str | None = None
    again: str | None = None

    @property
    def reason(self) -> str:
        """The reason of the move."""
        if self.without_champion:
            return f"promoted without the champion: {self.without_champion}"
        return f"promoted again: {self.again}" if self.again else "promoted"


_NO_WAIVERS = Waivers()


def judge_and_move(
    root: Path, alias: str | None = None, waivers: Waivers = _NO_WAIVERS
) -> list[Move]:
    """Judge all candidates, and move the aliases that a better model may get, see `entry.promote`."""
    before = take_state(root)
    policies = {alias: read_policy(root, alias)} if alias else read_policies(root / GATES)
    params = read_params(root)
    check_names(policies, params.names)
    evaluator = Evaluator.open(root, params)
    moves, refusals = [], []
    for name, policy in policies.items():
        try:
            move = _promote_alias(evaluator, name, policy, waivers)
        except RefusedError as error:
            refusals.append(str(error))
            continue
        if move is not None:
            moves.append(move)
    with suppress(EspalierError, OSError):  # the outcome stands without a memo
        _keep_memo(evaluator, policies, alias, before)
    if refusals:
        raise RefusedError("\n".join(refusals))
    return moves


def _promote_alias(
    evaluator: Evaluator, alias: str, policy: Policy, waivers: Waivers
) -> Move | None:
    """Promote the best candidate of one alias; None if the alias points to it already."""
    settings, without = evaluator.params.registry, waivers.without_champion
    with tempfile.TemporaryDirectory() as draft, _registry(evaluator) as registry:
        complete_unfinished_moves(registry)
        sync_audit(registry)
        champion = _champion(registry, evaluator, alias, Path(draft, "champion"), without)
        version = champion.version if champion else version_of_alias(registry, alias)
        judged = _judge(registry, evaluator, policy, alias, champion, waivers)
        candidates, chosen = judged.candidates, judged.chosen
        use = _say_use(registry, evaluator, policy, candidates, chosen)
        if judged.stays:
            sys.stdout.write(f"{judged.stays}\n")
            return None
        winner = chosen.entry if chosen else None
        gate_report = as_json(alias, candidates, winner, use, policy.correction)
        run, report = _log_report(registry, gate_report, tags_of(use, candidates))
        if chosen is None:
            raise judged.refusal(version)
        request = AliasMove(
            alias=alias,
            expected=version,
            to=chosen.version,
            content=chosen.content,
            former_content=content_of(registry, version) if version else None,
            reason=waivers.reason,
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


def _champion(
    registry: Registry, evaluator: Evaluator, alias: str, folder: Path, without: str | None
) -> Champion | None:
    """The champion that candidates are compared with; None without one.

    Raises:
        BadInput: if its files are lost and `without` gives no reason to judge without it, or `without` is
            given although its files are intact and take the inputs of the test split.
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
    if without and champion and not evaluator.answers(champion.folder, champion.content).problem:
        raise BadInput(
            f"Expected `--without-champion` where the files of {registry.name}@{alias} are lost or take other "
            f"inputs than the test split; found version {champion.version} intact: promote without the option."
        )
    return champion


def _judge(
    registry: Registry,
    evaluator: Evaluator,
    policy: Policy,
    alias: str,
    champion: Champion | None,
    waivers: Waivers = _NO_WAIVERS,
) -> Judgement:
    """Judge the registered version of every candidate by the gates of a policy.

    Args:
        registry: the registered model.
        evaluator: the evaluator of the project.
        policy: the policy of the alias.
        alias: name of the alias.
        champion: version that the alias points to; None without one.
        waivers: without the champion, the gate `champion_drop` counts as if there were none. The gates of
            classes and devices compare with it all the same.
    """
    entries = evaluator.candidates(policy)
    models = [read_model(evaluator.root, evaluator.params, entry) for entry in entries]
    versions = [_registered_version(registry, model) for model in models]
    champion_answers = evaluator.answers(champion.folder, champion.content) if champion else None
    if champion_answers and waivers.without_champion:
        champion_answers = Answers(champion_answers.classes, None)
    project = evaluator.params.registry.name
    refused = {} if waivers.again else barred(registry, alias, project)
    candidates = []
    for model, version in zip(models, versions, strict=True):
        damage = _damage(registry, version, model)
        figures = evaluator.figures(model.entry, champion_answers, damage)
        figures = replace(
            figures,
            current_device=champion.device if champion else "",
            rolled_back=refused.get(model.content, ""),
        )
        verdicts = judge(policy.gates, figures)
        candidates.append(Candidate(model.entry, model.content, figures, verdicts, version))
    candidates = correct(
        candidates,
        policy,
        lambda one: evaluator.figures_at(one.figures, one.entry, champion_answers),
    )
    chosen = choose_candidate(candidates, policy)
    problem = champion_answers.problem if champion_answers else ""
    return Judgement(f"{registry.name}@{alias}", champion, candidates, chosen, problem)


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


def _keep_memo(
    evaluator: Evaluator, policies: Mapping[str, Policy], alias: str | None, before: State | None
) -> None:
    """Write the memo of this promotion, if a repetition would change nothing.

    The candidates are judged again, because a move can change the outcome: they are now compared with another
    champion. Nothing is printed, logged or moved.

    Args:
        evaluator: The evaluator of the promotion.
        policies: The judged policies, by alias.
        alias: The argument of the promotion.
        before: State of the project before the promotion read it; None if it cannot be compared.
    """
    now = take_state(evaluator.root)
    if before is None or now is None or now.project != before.project:
        return  # it changed meanwhile
    if evaluator.params.trusted:
        return  # no memo covers the code of the user
    with _registry(evaluator) as registry:
        judged = [_judge_quietly(registry, evaluator, *one) for one in policies.items()]
        folders, unchanged = _intact_folders(registry, judged), Unchanged.of(judged)
        if unchanged and folders:
            found, arguments = unchanged.to_json(), {"alias": alias}
            now.keep(MEMO, found, arguments=arguments, folders=folders)


def _intact_folders(registry: Registry, judged: Sequence[Judgement]) -> list[Path]:
    """The folders of all versions that were compared; none if one does not hold the content that was."""
    contents = {version: content for one in judged for version, content in one.contents.items()}
    folders = {version: files_of(registry, version) for version in contents}
    intact = all(holds(folders[version], content) for version, content in contents.items())
    return list(folders.values()) if intact else []


@contextmanager
def _registry(evaluator: Evaluator) -> Iterator[Registry]:
    """The registered model of a project."""
    store = find_store(evaluator.root)
    with connect(store, make=False) as client:  # an empty database would have no candidate
        yield open_registry(client, store, evaluator.params.registry.name)


def _judge_quietly(
    registry: Registry, evaluator: Evaluator, alias: str, policy: Policy
) -> Judgement:
    """Judge an alias by the version that it points to now."""
    with tempfile.TemporaryDirectory() as draft:
        champion = fetch_champion(registry, alias, Path(draft, "champion"))
        return _judge(registry, evaluator, policy, alias, champion)

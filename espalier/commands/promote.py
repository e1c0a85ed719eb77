"""`espalier promote`: let an alias of the registered model stand at the best model that passes its gates."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espalier.errors import BadInput
from espalier.gates import Policy, choose, judge, read_policies
from espalier.params import read_params
from espalier.paths import GATES
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion import transfer
from espalier.registry.promotion.evaluator import Evaluator
from espalier.registry.promotion.gate_evidence import REPORT
from espalier.registry.promotion.gate_report import RefusedError, as_json, refusal, show
from espalier.registry.promotion.move_alias import Swap, finish, swap, where
from espalier.registry.promotion.webhook import tell
from espalier.registry.versions.fetch import fetch
from espalier.registry.versions.model import Model, read_model
from espalier.registry.versions.registry import Registry, open_registry, quoted, tagged

if TYPE_CHECKING:
    from espalier.registry.promotion.audit import Move


@dataclass(frozen=True)
class _Champion:
    """The model that bears the alias now."""

    version: str
    content: str
    answers: np.ndarray


def run(
    root: Path, alias: str | None = None, into: str | None = None, at: str | None = None
) -> "list[Move]":
    """Judge all candidates, and move each alias of `mlflow/gates.yaml`, or one of them; or take one elsewhere.

    Args:
        root: The project.
        alias: The only one to be moved.
        into: Another registered model, into which the bearer of the alias (`champion` by default) is copied instead.
        at: The store of that one, as in `MLFLOW_TRACKING_URI`; the project's by default.

    Returns:
        The moves that were made; an alias that stands right already is not moved.

    Raises:
        BadInput: If the policy, the reports or the registry are not as they should be.
        RefusedError: If nothing passed, for one alias at least; the others were moved.
        OvertakenError: If somebody else moved the alias meanwhile.
    """
    if into is not None:
        return transfer.run(root, into, at, alias or "champion")
    if at is not None:
        raise BadInput(
            "--at should come with --into, which names the registered model there. Found --at alone."
        )
    policies = read_policies(root / GATES)
    if alias and alias not in policies:
        raise BadInput(
            f"The alias should be one that {GATES} has gates for: {', '.join(policies)}. Found {alias!r}."
        )
    bench = Evaluator.of(root, read_params(root))
    moves, refused = [], []
    for name, policy in policies.items():
        if alias in (None, name):
            try:
                moves += _promote(bench, name, policy)
            except RefusedError as error:
                refused.append(str(error))
    if refused:
        raise RefusedError("\n".join(refused))
    return moves


def _promote(bench: Evaluator, alias: str, policy: Policy) -> "list[Move]":
    store, name = find_store(bench.root), bench.params.registry.name
    with connect(store) as client:
        registry = open_registry(client, store, name)
        finish(client, name, alone=store.database is not None)
        bearer = _bearer(registry, bench, alias)
        models = {
            entry: read_model(bench.root, bench.params, entry) for entry in bench.names(policy)
        }
        versions = {entry: _version(registry, model) for entry, model in models.items()}
        figures = {
            entry: bench.figures(
                entry, bearer.answers if bearer else None, _damage(registry, versions[entry], model)
            )
            for entry, model in models.items()
        }
        verdicts = {entry: judge(policy.gates, found) for entry, found in figures.items()}
        passed = {
            entry: figures[entry]
            for entry, rows in verdicts.items()
            if all(row.passed for row in rows)
        }
        chosen = choose(policy.choose, passed) if passed else None
        show(verdicts, chosen)
        contents = {entry: model.content for entry, model in models.items()}
        if chosen and bearer and contents[chosen] == bearer.content:
            _say(f"{name}@{alias} stays at version {bearer.version}: {chosen}, as it is now")
            return []
        report = as_json(alias, verdicts, figures, contents, chosen)
        run_id = client.create_run(registry.experiment, run_name=f"promote {alias}").info.run_id
        client.log_dict(run_id, report, REPORT)
        client.set_terminated(run_id, "FINISHED" if chosen else "FAILED")
        if chosen is None:
            raise refusal(f"{name}@{alias}", bearer.version if bearer else None, verdicts)
        wish = Swap(
            alias=alias,
            expected=bearer.version if bearer else None,
            to=versions[chosen],
            content=contents[chosen],
            former_content=bearer.content if bearer else None,
            reason="promoted",
            run=run_id,
        )
        move = swap(client, name, wish, alone=store.database is not None)
    tell(bench.params.registry.webhook, name, move)
    _say(
        f"{name}@{alias} is version {move.to} now: {chosen}"
        + (f"; it was version {move.former}" if bearer else "")
    )
    return [move]


def _bearer(registry: Registry, bench: Evaluator, alias: str) -> _Champion | None:
    """Who bears the alias, and its answers to the current test images, by the files that the registry holds."""
    version = where(registry.client, registry.name, alias)
    if version is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        content = fetch(registry, version, Path(folder))
        return _Champion(version, content, bench.answers(Path(folder)))


def _version(registry: Registry, model: Model) -> str:
    """The newest version that says it holds a model."""
    wanted = f"name = {quoted(registry.name)} and {tagged(model)}"
    found = [int(one.version) for one in registry.client.search_model_versions(wanted)]
    if not found:
        raise BadInput(
            f"{registry.name} should have a version of {model.entry} as it is now. Found none: `espalier register` "
            "first."
        )
    return str(max(found))


def _damage(registry: Registry, version: str, model: Model) -> str:
    """What is wrong with a version's files; nothing if they are those of the model."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            content = fetch(registry, version, Path(folder))
        except BadInput as error:
            return str(error).replace(f"{folder}/", "")
    return "" if content == model.content else f"version {version} holds {content[:12]}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")

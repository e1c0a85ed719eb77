"""Registration: write all model folders to MLflow; repeating it changes nothing."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espalier import files
from espalier.dvc_record import is_experiment
from espalier.errors import BadInput, EspalierError, Notice
from espalier.params import Params
from espalier.params.lineage import refuse_stale
from espalier.paths import REGISTERED
from espalier.records import has_reports, verify_reports
from espalier.registry.connection import Store, connect, find_store
from espalier.registry.live import reconcile
from espalier.registry.memos import State, holds, read_memo, take_state
from espalier.registry.recovery import Restored, lines_lacking, restore_audit
from espalier.registry.versions import (
    Evaluated,
    Model,
    Page,
    Registry,
    add_version,
    files_of,
    find_version,
    is_complete,
    open_registry,
    quoted,
    read_model,
    read_page,
    read_report,
    refresh_version,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MEMO = "register-check"  # name of the memo of a check that has found nothing


@dataclass(frozen=True)
class Registered:
    """A model and its version in the registry.

    Attributes:
        entry: Name of the model in `params.yaml`.
        version: Number of the version.
        run_id: MLflow's id of the run behind it.
        content: Content hash of the model.
        new: Whether this registration made the version.
    """

    entry: str
    version: str
    run_id: str
    content: str
    new: bool


def register(
    root: Path,
    params: Params,
    on_model: Callable[[Registered], None] = lambda _: None,
    on_restored: Callable[[Restored], None] = lambda _: None,
) -> tuple[Registered, ...]:
    """Register every model of `params.yaml`, and write the receipt `registered.json`.

    A version that holds a model already is found by the content hash and kept. The alias with the
    entry's name points to the version of the current model, also to an older version if a change
    was taken back. In an experiment of DVC (`dvc exp run`) no alias moves: its versions are there to
    be compared, and the aliases belong to the workspace. Entries that are no longer declared keep
    their versions and their alias. Each run gets the page of the report. Live runs of registered
    entries are deleted. A store that lacks moves of the audit, because it was lost, gets them from the
    files of the project, with the aliases.

    Args:
        root: The project.
        params: content of `params.yaml`.
        on_model: Called with each model when it is registered.
        on_restored: Called with the restored parts of the audit.

    Returns:
        The version of each model, parents first.

    Raises:
        BadInput: If a model or the reports are damaged (the message names the file), or a model was made from other
            inputs than `params.yaml` has now, or the store denies access.
        TryAgain: If the store is unavailable. Versions made until then are kept, and found the next
            time.
    """
    models = _read_models(root, params)
    if has_reports(root):
        verify_reports(root)
    reports, page = read_report(root), read_page(root)
    store = find_store(root)
    done: list[Registered] = []
    with connect(store) as client:
        registry = open_registry(client, store, params.registry.name)
        aliases = dict(client.get_registered_model(registry.name).aliases)
        for model in models:
            registered = _register(registry, model, reports.get(model.entry, Evaluated()), page)
            moved = str(aliases.get(model.entry)) != registered.version
            if moved and not is_experiment():
                client.set_registered_model_alias(registry.name, model.entry, registered.version)
            on_model(registered)
            done.append(registered)
        reconcile(client, registry.experiment, root, _times_of_making(models))
        if not is_experiment():
            on_restored(_restore(registry))
    files.write_json(root / REGISTERED, _receipt(store, params, done))
    remember_check(root, params)
    return tuple(done)


def missing(root: Path, params: Params) -> dict[str, str]:
    """Find the models that the registry does not hold as they are now.

    Sizes of files are compared, not their hashes; nothing is written but a memo, see `is_registered`.

    Returns:
        For each such model, what was found instead; for `the audit`, that it lacks moves of its file.

    Raises:
        BadInput: If a model folder is damaged or was made from other inputs, or the store denies access.
        TryAgain: If the store is unavailable.
        EspalierError: If the project's own database does not exist.
    """
    state = take_state(root)
    models = _read_models(root, params)
    store, name = find_store(root), params.registry.name
    problems: dict[str, str] = {}
    with connect(store, make=False) as client:
        found = client.search_registered_models(f"name = {quoted(name)}")
        aliases = dict(found[0].aliases) if found else {}
        registry = Registry(client, store, name)
        for model in models:
            problem = _problem(client, registry, model, aliases.get(model.entry))
            if problem:
                problems[model.entry] = problem
        if not problems and lines_lacking(registry):
            problems["the audit"] = f"{lines_lacking(registry)} moves less than in its file"
        if not problems and state:
            _keep_memo(state, registry, models, aliases)
    return problems


def remember_check(root: Path, params: Params) -> None:
    """Write the memo that `is_registered` reads, if the store is local and lacks nothing."""
    if find_store(root).is_local:
        with suppress(EspalierError):
            missing(root, params)


def is_registered(root: Path) -> bool:
    """Whether `missing` found nothing the last time, and nothing that it reads has changed; False if unknown.

    Neither MLflow nor torch is imported.
    """
    return read_memo(root, _MEMO, {}) is not None


def _read_models(root: Path, params: Params) -> list[Model]:
    """The models of `params.yaml`, which were made as it says."""
    models = [read_model(root, params, entry) for entry in params.names]
    refuse_stale(root, params)
    return models


def _register(registry: Registry, model: Model, report: Evaluated, page: Page | None) -> Registered:
    found = find_version(registry, model)
    stored = found or add_version(registry, model, report.metrics)
    refresh_version(registry, stored, report, page)
    return Registered(model.entry, stored.version, stored.run, model.content, new=found is None)


def _restore(registry: Registry) -> Restored:
    """Restore the audit; a disagreement of file and store is a warning, since the models are registered."""
    try:
        return restore_audit(registry)
    except BadInput as error:
        warnings.warn(str(error), Notice, stacklevel=3)
        return Restored()


def _times_of_making(models: list[Model]) -> dict[str, float]:
    """Time at which each model was finished, in seconds since 1970; 0 without a record."""
    times = {}
    for model in models:
        span = model.time_span()
        times[model.entry] = span[1] if span else 0.0
    return times


def _problem(client: "MlflowClient", registry: Registry, model: Model, version: str | None) -> str:
    """Why the version of an alias is not the model; empty if it is."""
    if version is None:
        return "no version"
    found = client.get_model_version(registry.name, version)
    if found.tags.get("espalier.content") != model.content:
        return f"version {version}, which is another model"
    if not is_complete(registry, found, model, hashes=False):
        return f"version {version} without all of its files"
    return ""


def _keep_memo(
    state: State, registry: Registry, models: Sequence[Model], aliases: Mapping[str, str]
) -> None:
    """Record that the registry holds the models as they are now."""
    folders = {model.entry: files_of(registry, aliases[model.entry]) for model in models}
    if all(holds(folders[model.entry], model.content) for model in models):
        state.keep(_MEMO, {}, arguments={}, folders=folders.values())


def _receipt(store: Store, params: Params, done: list[Registered]) -> dict[str, object]:
    models = {
        one.entry: {"version": one.version, "run_id": one.run_id, "content": one.content}
        for one in done
    }
    return {"registered_model": params.registry.name, "tracking_uri": store.shown, "models": models}

"""Adding versions, so that a crash at any moment leaves nothing that a repetition does not complete or remove.

A registration makes three things: a run, its files, and a version. The run gets the tag
`espalier.complete` when everything of it is logged; the version is made afterwards, with all its
tags, in one request. A crash therefore leaves one of three states, and the next registration of the
same model proceeds from it:

| crash | state of the store | next registration |
|---|---|---|
| while the run is logged | run without `espalier.complete`, lease expired | deletes the run, logs another one |
| between mark and version | complete run without a version | adopts the run: makes its version |
| after the version | version on a complete run | finds the version, adds nothing |
"""

import time
from collections.abc import Mapping

from espalier.registry.connection import is_active, remove_lease
from espalier.registry.versions.log_run import (
    BEGUN,
    COMPLETE,
    WRITER,
    log_points,
    log_run,
    single_points,
)
from espalier.registry.versions.metrics import DEVICE, Evaluated, Page
from espalier.registry.versions.model import Model
from espalier.registry.versions.registry import Registry
from espalier.registry.versions.requests import model_filter, quoted
from espalier.registry.versions.stored import (
    StoredVersion,
    find_versions,
    has_files,
    stored_version,
)
from espalier.settings.tasks import HEADLINES

PAGE_HASH = "espalier.report"  # tag with the hash of the page that is logged to the run
_PAGE_FOLDER = "report"
_SHOWN = {  # figures of a version: how they are written
    **{headline.name: "{:.4f}" for headline in HEADLINES.values()},
    "drop_high": "{:.4f}",
    "bytes": "{:.0f}",
    "latency_1_ms": "{:.4f}",
}
_VERSION_TIMEOUT = 60  # seconds until MLflow's new version is ready


def add_version(registry: Registry, model: Model, report: Mapping[str, float]) -> StoredVersion:
    """Make a version of a model, from the run of an interrupted registration if that run is complete.

    Args:
        registry: The registered model.
        model: The model to register.
        report: Metrics of the evaluation, by name.
    """
    run, logged = _adopt_run(registry, model) or log_run(registry, model, report)
    added = add_reference(registry, StoredVersion("", run, logged), model.tags())
    return added if registry.store.is_local else _keep_first(registry, model, added)


def _keep_first(registry: Registry, model: Model, added: StoredVersion) -> StoredVersion:
    """The version that another checkout has made of the model meanwhile; the new one is deleted then.

    A local store is locked, a server is not. It numbers versions one after another: of two that were made at
    the same time, the machine with the larger number finds the other one, which is complete.
    """
    number = int(added.version)
    older = [one for one in find_versions(registry, model) if int(one.version) < number]
    if not older:
        return added
    first = older[-1]
    registry.client.delete_model_version(registry.name, added.version)
    if added.run not in {one.run for one in older}:  # both can have adopted the run of a third
        _delete_run(registry, added.run)
    return first


def add_reference(
    registry: Registry, stored: StoredVersion, tags: Mapping[str, str]
) -> StoredVersion:
    """Make a version that refers to run and files in the same store, of any registered model.

    Args:
        registry: The registered model that gets the version.
        stored: The run and the files.
        tags: Tags of the new version.
    """
    version = registry.client.create_model_version(
        registry.name,
        f"models:/{stored.logged}",
        stored.run,
        tags=dict(tags),
        model_id=stored.logged,
        await_creation_for=_VERSION_TIMEOUT,
    )
    return stored_version(version)


def refresh_version(
    registry: Registry,
    stored: StoredVersion,
    report: Evaluated,
    page: Page | None = None,
) -> None:
    """Log metrics, device and page of a repeated evaluation; what the run has already is not logged again.

    Args:
        registry: The registered model.
        stored: The version whose run is updated.
        report: Metrics of the evaluation, and the device of its latencies.
        page: The page of the report.
    """
    client, metrics = registry.client, report.metrics
    known = client.get_run(stored.run).data
    changed = {name: value for name, value in metrics.items() if known.metrics.get(name) != value}
    log_points(registry, stored.run, stored.logged, single_points(changed, time.time()))
    if report.device and known.tags.get(DEVICE) != report.device:
        client.set_tag(stored.run, DEVICE, report.device)
    if page and known.tags.get(PAGE_HASH) != page.sha256:
        client.log_artifact(stored.run, str(page.path), _PAGE_FOLDER)
        # set after the file, so that a crash between the two repeats the upload
        client.set_tag(stored.run, PAGE_HASH, page.sha256)
    _show_report(registry, stored, report)


def _show_report(registry: Registry, stored: StoredVersion, report: Evaluated) -> None:
    """Give a version the main figures as tags and as its description, which MLflow's pages show."""
    metrics = report.metrics
    shown = {name: form.format(metrics[name]) for name, form in _SHOWN.items() if name in metrics}
    if not shown:
        return
    if report.device:
        shown[DEVICE] = report.device
    client, name, number = registry.client, registry.name, stored.version
    known = client.get_model_version(name, number)
    changed = {key: value for key, value in shown.items() if known.tags.get(key) != value}
    for key, value in changed.items():
        client.set_model_version_tag(name, number, key, value)
    if changed:
        text = ", ".join(f"{key} {value}" for key, value in shown.items())
        description = f"{known.tags.get('espalier.entry', '')} ({text})"
        client.update_model_version(name, number, description)


def _adopt_run(registry: Registry, model: Model) -> tuple[str, str] | None:
    """Find a complete run of a model that lacks its version; delete the runs of crashed registrations.

    Returns:
        MLflow's ids of the run and of its files; None if there is no such run.
    """
    adopted = None
    wanted = model_filter(model.entry, model.content)
    for run in registry.client.search_runs([registry.experiment], wanted):
        logged = run.data.tags.get(COMPLETE)
        if logged is None:
            _delete_if_crashed(registry, run.info.run_id, run.data.tags)
        elif has_files(registry, logged, model, hashes=True):
            adopted = run.info.run_id, logged
    return adopted


def _delete_if_crashed(registry: Registry, run: str, tags: Mapping[str, str]) -> None:
    """Delete an incomplete run, unless another machine is still logging it."""
    lease = tags.get(WRITER, "")
    root = registry.store.root
    # a local store is locked by this process, so that no other process can be logging
    may_be_written = not registry.store.is_local
    if may_be_written and is_active(root, lease, float(tags.get(BEGUN, 0)), "registering"):
        return
    _delete_run(registry, run)
    remove_lease(root, lease, "registering")


def _delete_run(registry: Registry, run: str) -> None:
    """Delete a run and its files."""
    client = registry.client
    for logged in client.search_logged_models(
        [registry.experiment], f"source_run_id = {quoted(run)}"
    ):
        client.delete_logged_model(logged.model_id)
    client.delete_run(run)

"""Registering: what the files say, said again in MLflow, as often as one likes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from espalier import files
from espalier.params import Params
from espalier.paths import REGISTERED
from espalier.registry.connection.store import Store, connect, find_store
from espalier.registry.live import live_runs as live
from espalier.registry.versions.metrics import Page, read_page, read_report
from espalier.registry.versions.model import Model, read_model
from espalier.registry.versions.registry import Registry, open_registry, quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Registered:
    """A model and the version that holds it; `new` if this call made the version."""

    entry: str
    version: str
    run_id: str
    content: str
    new: bool


def register(
    root: Path, params: Params, tell: Callable[[Registered], None] = lambda _: None
) -> tuple[Registered, ...]:
    """Bring every model of `params.yaml` into the registry, and write the receipt `registered.json`.

    A version that holds a model already is found by the model's content and kept. An alias with the entry's name
    points to the version of what the entry is now: also back to an older one, if a change was taken back. Entries that
    are no longer declared keep their versions and their alias. Each run gets the page of the report; the live runs
    of what is registered go.

    Args:
        root: The project.
        params: Its parameters.
        tell: Called with each model as soon as it is registered.

    Returns:
        What holds each model, parents first.

    Raises:
        BadInput: If a model folder is damaged (it names the file), or the store refuses us.
        TryAgain: If the store is away. What was registered until then is kept, and found again.
    """
    models = [read_model(root, params, entry) for entry in params.names]
    reports, page = read_report(root), read_page(root)
    store = find_store(root)
    done: list[Registered] = []
    with connect(store) as client:
        registry = open_registry(client, store, params.registry.name)
        aliases = dict(client.get_registered_model(registry.name).aliases)
        for model in models:
            one = _register(registry, model, reports.get(model.entry, {}), page)
            if str(aliases.get(one.entry)) != one.version:
                client.set_registered_model_alias(registry.name, one.entry, one.version)
            tell(one)
            done.append(one)
        live.settle(
            client,
            registry.experiment,
            root,
            {model.entry: (model.made() or (0, 0))[1] for model in models},
        )
    files.write_json(root / REGISTERED, _receipt(store, params, done))
    return tuple(done)


def missing(root: Path, params: Params) -> dict[str, str]:
    """What the registry lacks: for each model that it does not hold as it is now, what was found instead.

    Sizes of files are compared, not their hashes; nothing is written.

    Raises:
        BadInput: If a model folder is damaged, or the store refuses us.
        TryAgain: If the store is away.
        EspalierError: If the project's own database does not exist.
    """
    models = [read_model(root, params, entry) for entry in params.names]
    store = find_store(root)
    with connect(store, make=False) as client:
        found = client.search_registered_models(f"name = {quoted(params.registry.name)}")
        aliases = dict(found[0].aliases) if found else {}
        registry = Registry(client, store, params.registry.name, "")
        lacks = {
            model.entry: _lack(client, registry, model, aliases.get(model.entry))
            for model in models
        }
    return {entry: lack for entry, lack in lacks.items() if lack}


def _register(
    registry: Registry, model: Model, report: dict[str, float], page: Page | None
) -> Registered:
    found = registry.find(model)
    held = found or registry.add(model, report)
    registry.refresh(held, report, page)
    return Registered(model.entry, held.version, held.run, model.content, new=found is None)


def _lack(client: "MlflowClient", registry: Registry, model: Model, version: str | None) -> str:
    if version is None:
        return "no version"
    held = client.get_model_version(registry.name, version)
    if held.tags.get("espalier.content") != model.content:
        return f"version {version}, which is another model"
    return (
        ""
        if registry.is_complete(held, model, hashes=False)
        else f"version {version} without all of its files"
    )


def _receipt(store: Store, params: Params, done: list[Registered]) -> dict[str, object]:
    kept = ("version", "run_id", "content")
    models = {
        one.entry: {key: value for key, value in asdict(one).items() if key in kept} for one in done
    }
    return {"registered_model": params.registry.name, "tracking_uri": store.shown, "models": models}

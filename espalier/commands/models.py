"""`espalier models`: the versions of the registered model, who bears which alias, and every move of one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from espalier.params import read_params
from espalier.registry.connection.names import check_name
from espalier.registry.connection.store import connect, find_store
from espalier.registry.promotion.audit import Audit, Move
from espalier.registry.versions.registry import quoted


def run(root: Path, within: str | None = None, at: str | None = None) -> None:
    """Print both tables.

    Args:
        root: The project.
        within: The registered model; the project's by default.
        at: The store that it is in, as in `MLFLOW_TRACKING_URI`; the project's by default.

    Raises:
        EspalierError: If there is no registry yet.
    """
    store = find_store(root, at)
    name = read_params(root).registry.name if within is None else check_name(within)
    with connect(store, make=False) as client:
        registered = client.search_registered_models(f"name = {quoted(name)}")
        aliases: dict[str, list[str]] = {}
        for alias, version in dict(registered[0].aliases).items() if registered else ():
            aliases.setdefault(str(version), []).append(alias)
        versions = client.search_model_versions(f"name = {quoted(name)}") if registered else []
        figures = {
            one.version: client.get_run(one.run_id).data.metrics for one in versions if one.run_id
        }
        moves = Audit(client, name).moves()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(
        _versions(name, sorted(versions, key=lambda one: int(one.version)), aliases, figures)
    )
    if moves:
        console.print(_audit(moves))


def _versions(
    name: str, versions: list[Any], aliases: dict[str, list[str]], figures: dict[Any, Any]
) -> Table:
    columns = (name, "entry", "aliases", "accuracy", "drop", "file", "batch 1", "content")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for one in versions:
        found = figures.get(one.version, {})
        table.add_row(
            str(one.version),
            one.tags.get("espalier.entry", ""),
            ", ".join(
                sorted(set(aliases.get(str(one.version), ())) - {one.tags.get("espalier.entry")})
            ),
            _shown(found, "accuracy", 100, "{:.2f} %"),
            _shown(found, "drop", 100, "{:.2f}"),
            _shown(found, "bytes", 1e-3, "{:.1f} kB"),
            _shown(found, "latency_1_ms", 1, "{:.3f} ms"),
            one.tags.get("espalier.content", "")[:12],
        )
    return table


def _audit(moves: list[Move]) -> Table:
    columns = ("audit", "when (UTC)", "who", "alias", "from", "to", "why", "content", "ended")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for move in moves:
        when = datetime.fromtimestamp(move.when / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        row = (
            str(move.number),
            when,
            move.who,
            move.alias,
            move.former or "nowhere",
            move.to,
            move.reason,
        )
        table.add_row(*row, move.content[:12], move.state)
    return table


def _shown(figures: dict[str, float], name: str, factor: float, form: str) -> str:
    return form.format(factor * figures[name]) if name in figures else ""

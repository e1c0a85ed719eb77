"""`espalier models`: the versions of the registered model with their aliases, and the audit, which is checked."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from espalier.errors import BadInput, Notice
from espalier.params import read_params
from espalier.registry.connection import check_name, connect, find_store
from espalier.registry.promotion import Audit, Move, check_audit, moved_past_audit
from espalier.registry.versions import DEVICE, Registry, quoted
from espalier.report.terminal import printable
from espalier.settings.tasks import HEADLINES

if TYPE_CHECKING:
    from mlflow import MlflowClient

_WIDE = 1000  # columns of a console that is not a terminal: no line is wrapped
_CONTENT_DIGITS = 12  # of a hash, as shown


@dataclass(frozen=True)
class _Row:
    """A version in the table.

    Attributes:
        version: number of the version.
        tags: tags of the version.
        aliases: Names of the aliases that point to it.
        metrics: Last metrics of its run.
    """

    version: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]

    @property
    def device(self) -> str:
        """Device of its latencies; empty if it is unknown."""
        return self.tags.get(DEVICE, "")


def run(root: Path, within: str | None = None, at: str | None = None) -> None:
    """Print both tables, and compare the audit in the store with its file.

    Args:
        root: The project.
        within: Name of the registered model; the project's by default.
        at: Address of its store, in the form of `MLFLOW_TRACKING_URI`; the project's store by
            default.

    Raises:
        EspalierError: If the local database does not exist.
        BadInput: If the audit was altered, in the store or in its file.
    """
    store = find_store(root, at)
    name = read_params(root).registry.name if within is None else check_name(within)
    with connect(store, make=False) as client:
        rows = _read_rows(client, name)
        moves = Audit(client, name).moves()
        registry = Registry(client, store, name)
        past, problem = moved_past_audit(registry), _find_problem(registry)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    console.print(_versions_table(name, rows))
    for device, number in _devices(rows).items():
        console.print(f"device {number}: {printable(device)}", style="dim")
    if moves:
        console.print(_audit_table(moves))
    for sentence in past:
        warnings.warn(sentence, Notice, stacklevel=2)
    if problem:
        raise BadInput(problem)


def _find_problem(registry: Registry) -> str:
    """The first disagreement of the audit and its file; empty without one."""
    try:
        return check_audit(registry)
    except BadInput as error:
        return str(error)


def _read_rows(client: "MlflowClient", name: str) -> list[_Row]:
    registered = client.search_registered_models(f"name = {quoted(name)}")
    if not registered:
        return []
    aliases = dict(registered[0].aliases)
    versions = client.search_model_versions(f"name = {quoted(name)}")
    rows = []
    for version in sorted(versions, key=lambda one: int(one.version)):
        number = str(version.version)
        own = [alias for alias, target in aliases.items() if str(target) == number]
        rows.append(_Row(number, version.tags, tuple(own), _metrics_of(client, version.run_id)))
    return rows


def _metrics_of(client: "MlflowClient", run: str | None) -> Mapping[str, float]:
    """The last metrics of a run; none of a run that the store does not have."""
    from mlflow.exceptions import MlflowException

    if not run:
        return {}
    try:
        metrics: Mapping[str, float] = client.get_run(run).data.metrics
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return {}
        raise
    return metrics


def _devices(rows: list[_Row]) -> dict[str, int]:
    """The devices of the latencies, numbered; none if they are of one, so that all can be compared."""
    known = dict.fromkeys(row.device for row in rows if row.device)
    return {device: number for number, device in enumerate(known, 1)} if len(known) > 1 else {}


def _versions_table(name: str, rows: list[_Row]) -> Table:
    """A row per version; beside latencies that cannot be compared the number of their device."""
    columns = ("entry", "aliases", "score", "drop", "file", "batch 1", "content")
    devices = _devices(rows)
    further = ("device",) if devices else ()
    table = Table(
        Column(printable(name)), *columns, *further, box=None, pad_edge=False, header_style="bold"
    )
    for row in rows:
        entry = row.tags.get("espalier.entry", "")
        table.add_row(
            row.version,
            printable(entry),
            printable(", ".join(sorted(row.aliases))),
            _score(row.metrics),
            _metric(row.metrics, "drop", 100, "{:.2f}"),
            _metric(row.metrics, "bytes", 1e-3, "{:.1f} kB"),
            _metric(row.metrics, "latency_1_ms", 1, "{:.3f} ms"),
            printable(row.tags.get("espalier.content", "")[:_CONTENT_DIGITS]),
            *([str(devices.get(row.device, ""))] if devices else []),
        )
    return table


def _audit_table(moves: list[Move]) -> Table:
    columns = ("audit", "when (UTC)", "who", "alias", "from", "to", "why", "content", "ended")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for move in moves:
        when = datetime.fromtimestamp(move.when / 1000, UTC)
        table.add_row(
            str(move.number),
            when.strftime("%Y-%m-%d %H:%M:%S"),
            printable(move.who),
            printable(move.alias),
            printable(move.former or "nowhere"),
            printable(move.to or "lost"),
            printable(move.reason),
            printable(move.content[:_CONTENT_DIGITS]),
            move.state,
        )
    return table


def _score(metrics: Mapping[str, Any]) -> str:
    """The mean score, by the headline of the run's task."""
    known = [one for one in HEADLINES.values() if one.name in metrics]
    return known[0].text(metrics[known[0].name]) if known else ""


def _metric(metrics: Mapping[str, Any], name: str, factor: float, form: str) -> str:
    """A metric in the unit of its column; empty if the run does not have it."""
    return form.format(factor * metrics[name]) if name in metrics else ""

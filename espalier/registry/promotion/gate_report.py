"""The gate report: for each candidate and gate what should be, what was found, and the verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from espalier.errors import EspalierError
from espalier.gates import Figures, Verdict


class RefusedError(EspalierError):
    """No candidate passed; the alias stays where it is."""


def as_json(
    alias: str,
    verdicts: Mapping[str, Sequence[Verdict]],
    figures: Mapping[str, Figures],
    contents: Mapping[str, str],
    chosen: str | None,
) -> dict[str, Any]:
    """The report as it is kept in the run, bound to the hash of what each candidate holds."""
    return {
        "alias": alias,
        "chosen": chosen,
        "candidates": {
            name: {
                "content": contents[name],
                "passed": all(verdict.passed for verdict in verdicts[name]),
                "verdicts": [asdict(verdict) for verdict in verdicts[name]],
                "figures": {key: _plain(value) for key, value in asdict(figures[name]).items()},
            }
            for name in verdicts
        },
    }


def show(verdicts: Mapping[str, Sequence[Verdict]], chosen: str | None) -> None:
    """Print every gate of the one that was chosen, and of the others those that refused."""
    table = Table(
        "candidate",
        "gate",
        "should be",
        "found",
        "verdict",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name, rows in verdicts.items():
        refused = [row for row in rows if not row.passed]
        shown = rows if name == chosen else refused
        for number, row in enumerate(shown):
            table.add_row(
                name if number == 0 else "", row.gate, row.should, row.found, _verdict(row)
            )
        if not shown:
            table.add_row(name, "all", "", "", "passed")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(table)


def refusal(
    placed: str, version: str | None, verdicts: Mapping[str, Sequence[Verdict]]
) -> RefusedError:
    """The error that says what refused each candidate, in a sentence.

    Args:
        placed: The alias, with the name of the registered model.
        version: Where it stands, and stays; none if it stands nowhere.
        verdicts: Of each candidate.
    """
    by = "; ".join(
        f"{entry}: {', '.join(f'{row.gate} {row.found}' for row in rows if not row.passed)}"
        for entry, rows in verdicts.items()
    )
    stays = f"It stays at version {version}" if version else "Nobody bears it"
    return RefusedError(
        f"{placed} should be given to a model that passes every gate. Found none ({by}). {stays}."
    )


def _verdict(row: Verdict) -> str:
    return "passed" if row.passed else "[red]refused[/red]"


def _plain(value: Any) -> Any:
    """A value that JSON has: a number that is not finite becomes a word."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value

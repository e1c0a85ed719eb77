"""The tree of models with its figures, on a terminal."""

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from espalier.paths import TEACHER

_WIDE = 130  # columns of a terminal from which all figures fit
_WIDE_ONLY = ("parameters", "MACs", "batch 64", " speed")
_FRONT = " *"
_LEGEND = "* no other is at once as accurate, as small and as fast; (low..high) are 95 % intervals"


def tree(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print the rows of `models.csv` as a tree, children under their parents.

    A narrow terminal is spared parameters, multiply-accumulates and the latency of large batches.

    Args:
        table: The content of `reports/models.csv`.
        console: Where to print; the terminal by default.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = 1000  # nothing is cut in a file
    rows: dict[str, dict[Any, Any]] = {str(row["model"]): row for row in table.to_dict("records")}
    children: dict[str, list[str]] = {}
    for name, row in rows.items():
        children.setdefault(str(row["parent"]), []).append(name)
    wide = console.width >= _WIDE
    shown = Table(
        box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="bold"
    )
    for column in ("model", "by"):
        shown.add_column(column, no_wrap=True)
    for column in _figures(rows[TEACHER], wide=wide):
        shown.add_column(column.strip(), justify="right", no_wrap=True)

    def add(name: str, branch: str, below: str) -> None:
        marked = branch + name + (_FRONT if rows[name]["front"] else "")
        shown.add_row(marked, str(rows[name]["by"]), *_figures(rows[name], wide=wide).values())
        offspring = children.get(name, [])
        for number, child in enumerate(offspring):
            last = number == len(offspring) - 1
            add(child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))

    add(TEACHER, "", "")
    console.print(shown)
    console.print(_LEGEND, style="dim", highlight=False)


def quantity(value: float) -> str:
    """A number with three digits and a decimal prefix: 1234567 is 1.23 M."""
    for power, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {prefix}"
    return f"{value:.3g} "


def _figures(row: dict[Any, Any], *, wide: bool) -> dict[str, str]:
    """What a row shows, by column; a space in front tells it from one of the same name."""
    figures = {
        "accuracy %": _percent(row, "accuracy"),
        "drop": _percent(row, "drop") if row["model"] != TEACHER else "",
        "parameters": quantity(row["parameters"]),
        "MACs": quantity(row["macs"]),
        "file": quantity(row["bytes"]) + "B",
        "batch 1": f"{row['latency_1_ms']:.3f} ms",
        "speed": f"{row['speedup_1']:.1f}x",
        "batch 64": f"{row['latency_64_ms']:.2f} ms",
        " speed": f"{row['speedup_64']:.1f}x",
    }
    return figures if wide else {key: figures[key] for key in figures if key not in _WIDE_ONLY}


def _percent(row: dict[Any, Any], figure: str) -> str:
    value, low, high = (100 * row[name] for name in (figure, f"{figure}_low", f"{figure}_high"))
    return f"{value:.1f} ({low:.1f}..{high:.1f})"

"""The tree of models with its figures, on a terminal."""

import pandas as pd
from rich.console import Console
from rich.table import Table

from espalier.paths import TEACHER


def tree(table: pd.DataFrame, console: Console | None = None) -> None:
    """Print the rows of `models.csv` as a tree, children under their parents.

    Args:
        table: The content of `reports/models.csv`.
        console: Where to print; the terminal by default.
    """
    rows = {str(row["model"]): row for row in table.to_dict("records")}
    children: dict[str, list[str]] = {}
    for name, row in rows.items():
        children.setdefault(str(row["parent"]), []).append(name)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "by"):
        shown.add_column(column, no_wrap=True)
    for column in ("accuracy", "drop", "parameters", "MACs", "file", "batch 1", "speed-up", "batch 64", "speed-up"):
        shown.add_column(column, justify="right", no_wrap=True)

    def add(name: str, branch: str, below: str) -> None:
        row = rows[name]
        shown.add_row(
            branch + name,
            str(row["by"]),
            f"{100 * row['accuracy']:.2f} %",
            f"{100 * row['drop']:.2f}" if name != TEACHER else "",
            quantity(row["parameters"]),
            quantity(row["macs"]),
            quantity(row["bytes"]) + "B",
            f"{row['latency_1_ms']:.3f} ms",
            f"{row['speedup_1']:.1f}x",
            f"{row['latency_64_ms']:.2f} ms",
            f"{row['speedup_64']:.1f}x",
        )
        offspring = children.get(name, [])
        for number, child in enumerate(offspring):
            last = number == len(offspring) - 1
            add(child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))

    add(TEACHER, "", "")
    console = console or Console()
    if not console.is_terminal:
        console.width = 1000  # nothing is cut in a file
    console.print(shown)


def quantity(value: float) -> str:
    """A number with three digits and a decimal prefix: 1234567 is 1.23 M."""
    for power, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {prefix}"
    return f"{value:.3g} "

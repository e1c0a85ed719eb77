"""Formats of the numbers and names on the page."""

import math

from espalier.quantity import quantity
from espalier.report.page.contents import Row


def percent(row: Row) -> str:
    """The score with its interval: `95.6 % (93.0..97.3)`."""
    return f"{100 * row['score']:.1f} % ({_interval(row, 'score')})"


def points(row: Row, metric: str = "drop") -> str:
    """A difference in percentage points with its interval: `1.2 (-0.2..3.0)`."""
    return f"{100 * row[metric]:.1f} ({_interval(row, metric)})"


def size(value: float) -> str:
    """Bytes with a decimal prefix: `4.21 kB`."""
    return "" if math.isnan(value) else f"{quantity(value)}B"


def times(value: float) -> str:
    """A ratio: `3.2x`."""
    if math.isnan(value):
        return ""
    return f"{value:.1f}x" if value < 100 else f"{value:.0f}x"


def short(name: str, letters: int) -> str:
    """A name in at most `letters` characters; the middle is omitted, since names differ at the end.

    Example:
        >>> short("student-p35-int8", 9)
        'stud…int8'
    """
    if len(name) <= letters:
        return name
    end = letters // 2
    return f"{name[: letters - end - 1]}\N{HORIZONTAL ELLIPSIS}{name[-end:]}"


def summary(name: str, row: Row, score: str) -> str:
    """The main metrics of a model in a few lines, for a tooltip.

    Args:
        name: name of the model.
        row: its row of `models.csv`.
        score: name of the score in words.
    """
    lines = [name + (" (on the Pareto front)" if row["front"] else "")]
    if row.get("classes"):
        lines.append(f"classes: {row['classes']}")
    lines.append(f"{score} {percent(row)}")
    if row["parent"]:
        lines.append(f"drop {points(row)} points")
    lines.append(f"file {size(row['bytes'])}, {quantity(row['parameters']).strip()} parameters")
    speed = f"{times(row['speedup_1'])} as fast as the teacher"
    lines.append(f"batch 1: {row['latency_1_ms']:.3f} ms, {speed}")
    return "\n".join(lines)


def _interval(row: Row, metric: str) -> str:
    return f"{100 * row[f'{metric}_low']:.1f}..{100 * row[f'{metric}_high']:.1f}"

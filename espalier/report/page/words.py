"""Figures as the page spells them."""

import math

from espalier.report.page.contents import Row
from espalier.report.terminal import quantity


def percent(row: Row) -> str:
    """The accuracy with its interval: 95.6 % (93.0..97.3)."""
    return f"{100 * row['accuracy']:.1f} % ({_range(row, 'accuracy')})"


def points(row: Row, figure: str = "drop") -> str:
    """What was lost, in points, with its interval: 1.2 (-0.2..3.0)."""
    return f"{100 * row[figure]:.1f} ({_range(row, figure)})"


def size(value: float) -> str:
    """Bytes with a decimal prefix: 4.21 kB."""
    return "" if math.isnan(value) else f"{quantity(value)}B"


def times(value: float) -> str:
    """A ratio: 3.2x."""
    return "" if math.isnan(value) else f"{value:.1f}x" if value < 100 else f"{value:.0f}x"


def short(name: str, letters: int) -> str:
    """A name in at most so many letters; what is left out is in the middle, as names of a family differ at the end."""
    if len(name) <= letters:
        return name
    end = letters // 2
    return f"{name[: letters - end - 1]}\N{HORIZONTAL ELLIPSIS}{name[-end:]}"


def summary(name: str, row: Row) -> str:
    """A model in a few lines, for whoever points at it."""
    lines = [name + (" (on the front)" if row["front"] else ""), f"accuracy {percent(row)}"]
    if row["parent"]:
        lines.append(f"drop {points(row)} points")
    lines += [
        f"file {size(row['bytes'])}, {quantity(row['parameters']).strip()} parameters",
        f"batch 1: {row['latency_1_ms']:.3f} ms, {times(row['speedup_1'])} as fast as the teacher",
    ]
    return "\n".join(lines)


def _range(row: Row, figure: str) -> str:
    return f"{100 * row[f'{figure}_low']:.1f}..{100 * row[f'{figure}_high']:.1f}"

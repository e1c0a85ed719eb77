"""Tables on the terminal: the tree of models with its metrics, and the layers of one model."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from espalier.paths import TEACHER
from espalier.quantity import quantity
from espalier.settings.tasks import Headline

Shape = tuple[int, int, int]
Row = Mapping[Any, Any]  # cells of `models.csv`, as text or as values

_WIDE = 130  # columns of a terminal in which every metric fits
_WIDE_ONLY = ("parameters", "MACs", "batch 64", " speed")
_NARROW = 100  # columns of a terminal below which operation and milliseconds are omitted too
_NOT_NARROW = ("batch 1",)
_UNLIMITED = 1000  # columns in a file or a pipe, where nothing is truncated
_PARETO_MARK = " *"
_LEGEND = "* Pareto front of {score}, file size and latency; (low..high): 95 % intervals"


def print_tree(table: Iterable[Row], headline: Headline, console: Console | None = None) -> None:
    """Print the rows of `models.csv` as a tree, children below their parents.

    A terminal below 130 columns omits parameters, multiply-accumulates and the latency at batch 64;
    one below 100 also the operation and the latency at batch 1, so that 80 columns are enough.

    Args:
        table: rows of `reports/models.csv`, by column.
        headline: headline of the task.
        console: where to print; standard output by default.
    """
    console = _console(console)
    rows = {str(row["model"]): row for row in table}
    wide, narrow = console.width >= _WIDE, console.width < _NARROW
    shown = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2 if wide else 1, 0, 0),
        header_style="bold",
    )
    for column in ("model",) if narrow else ("model", "by"):
        shown.add_column(column, no_wrap=True)
    omitted = (() if wide else _WIDE_ONLY) + (_NOT_NARROW if narrow else ())
    for column in _metrics(rows[TEACHER], headline, omitted):
        shown.add_column(column.strip(), justify="right", no_wrap=True)
    for name, label in _labelled(rows):
        row = rows[name]
        mark = _PARETO_MARK if str(row["front"]) == "True" else ""
        shown_label = printable(label + mark)
        words = (shown_label,) if narrow else (shown_label, printable(str(row["by"])))
        shown.add_row(*words, *_metrics(row, headline, omitted).values())
    console.print(shown)
    notes = "\n".join([_LEGEND.format(score=headline.title), *_narrowed(rows)])
    console.print(notes, style="dim", highlight=False, markup=False)


def print_layers(
    student: Mapping[str, Shape],
    teacher_name: str | None = None,
    teacher: Mapping[str, Shape] | None = None,
    pairs: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> None:
    """Print the layers of a model that feature losses can pair, in the order of their depth.

    Args:
        student: output shape (channels, height, width) of each layer, by name.
        teacher_name: name of the model whose layers they can be paired with, if there is one.
        teacher: output shapes of the teacher's layers, by name.
        pairs: the teacher's layer for each paired layer of the student, by default.
        console: where to print; standard output by default.
    """
    console = _console(console)
    teacher, pairs = teacher or {}, pairs or {}
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("layer", no_wrap=True)
    shown.add_column("channels x height x width", no_wrap=True)
    if teacher_name:
        shown.add_column(f"pair in {teacher_name}", no_wrap=True)
        shown.add_column("", no_wrap=True)
    for name, shape in student.items():
        pair = pairs.get(name)
        cells = [pair, _spelled(teacher[pair])] if pair else []
        shown.add_row(*(printable(cell) for cell in (name, _spelled(shape), *cells)))
    console.print(shown)
    if teacher_name:
        note = (
            "Pairs are the default of losses between layers; "
            f"`espalier show {teacher_name}` lists the teacher's layers."
        )
        console.print(note, style="dim", highlight=False)


def print_weights(
    layers: Mapping[str, tuple[str, tuple[int, ...]]], console: Console | None = None
) -> None:
    """Print the layers of a model with their kinds and weights.

    Args:
        layers: kind of each layer and shape of its weights, by name.
        console: where to print; standard output by default.
    """
    shown = Table("layer", "kind", "weights", box=None, pad_edge=False, header_style="bold")
    for name, (kind, shape) in layers.items():
        shown.add_row(printable(name), printable(kind), _spelled(shape))
    _console(console).print(shown)


def printable(text: str) -> Text:
    r"""Text from a file or a store, without rich's markup, and with control characters as `\\xNN`."""
    shown = [one if one.isprintable() else repr(one)[1:-1] for one in text]
    return Text("".join(shown))


def _console(console: Console | None) -> Console:
    console = console or Console(markup=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


def _labelled(rows: Mapping[str, Row]) -> list[tuple[str, str]]:
    """Each model's name and its label with branches, depth first.

    Example:
        A teacher with the children a and b, and a1 from a: `teacher`, `├─ a`, `│  └─ a1`, `└─ b`.
    """
    children: dict[str, list[str]] = {}
    for name, row in rows.items():
        children.setdefault(str(row["parent"]), []).append(name)
    labelled = [(TEACHER, TEACHER)]

    def descend(parent: str, indent: str) -> None:
        siblings = children.get(parent, [])
        for name in siblings:
            last = name == siblings[-1]
            labelled.append((name, indent + ("└─ " if last else "├─ ") + name))
            descend(name, indent + ("   " if last else "│  "))

    descend(TEACHER, "")
    return labelled


def _narrowed(rows: Mapping[str, Row]) -> list[str]:
    """A line for each model that does not answer all classes of the data."""
    return [
        f"{name}: judged on the {row['examples']} test examples of {row['classes']}"
        for name, row in rows.items()
        if row.get("classes")
    ]


def _metrics(row: Row, headline: Headline, omitted: tuple[str, ...]) -> dict[str, str]:
    """The cells of a row by column; a leading space distinguishes a column of the same title."""
    cells = {
        f"{headline.title} %": _percent(row, headline.name),
        "drop": _percent(row, "drop") if row["model"] != TEACHER else "",
        "parameters": quantity(float(row["parameters"])),
        "MACs": quantity(float(row["macs"])),
        "file": quantity(float(row["bytes"])) + "B",
        "batch 1": f"{float(row['latency_1_ms']):.3f} ms",
        "speed": f"{float(row['speedup_1']):.1f}x",
        "batch 64": f"{float(row['latency_64_ms']):.2f} ms",
        " speed": f"{float(row['speedup_64']):.1f}x",
    }
    return {column: cell for column, cell in cells.items() if column not in omitted}


def _percent(row: Row, metric: str) -> str:
    value, low, high = (100 * float(row[f"{metric}{end}"]) for end in ("", "_low", "_high"))
    return f"{value:.1f} ({low:.1f}..{high:.1f})"


def _spelled(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)

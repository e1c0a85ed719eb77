"""The layers of a model, and which of its teacher's they are paired with, on a terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

Shape = tuple[int, int, int]


def layers(
    ours: Mapping[str, Shape],
    teacher: str | None = None,
    theirs: Mapping[str, Shape] | None = None,
    pairs: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> None:
    """Print the layers that can be paired, in the order of their depth.

    Args:
        ours: The shape of each layer's output, by its name: channels, height, width.
        teacher: The name of the model whose layers they can be paired with, if there is one.
        theirs: The shapes of its layers.
        pairs: The pairs that are the default.
        console: Where to print; the terminal by default.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = 1000  # nothing is cut in a file
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "layer",
        "channels x height x width",
        *((f"pair in {teacher}", "") if teacher else ()),
    ):
        shown.add_column(column, no_wrap=True)
    for name, shape in ours.items():
        pair = (pairs or {}).get(name)
        shown.add_row(name, _text(shape), *((pair, _text((theirs or {})[pair])) if pair else ()))
    console.print(shown)
    if teacher:
        note = f"Pairs are the default of losses between layers; `espalier show {teacher}` lists the other half."
        console.print(note, style="dim", highlight=False)


def _text(shape: Shape) -> str:
    return " x ".join(str(side) for side in shape)

"""Layers before and after pruning or folding: widths, removed layers, and zeros."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from espalier.models.architecture import Architecture
from espalier.models.folder import read_architecture
from espalier.paths import ARCHITECTURE, CUT, MODELS, WEIGHTS
from espalier.reading import reading
from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, bar, bar_row, join, legend, section, tag

_FEW = 24  # layers of a model that are shown without unfolding
_SUFFIX = ".weight"
_LEGEND = (
    ("by-prune", "outputs kept"),
    ("stayed", "activity of the kept outputs"),
    ("cut", "activity of the removed outputs"),
)
_UNKNOWN = (
    "The activity of the removed outputs is unknown: an earlier version of Espalier made this "
    "model, and did not record them."
)
_EXPLANATION = (
    "Outputs of each layer that is narrower than in the parent (channels of a convolution, "
    "features of a linear layer), and weights with pruned elements. Unchanged layers are omitted. "
    "The thin bars show the mean activation of the kept and of the removed outputs in the parent, "
    "on validation examples, as the layers that consume them see it: after norm and activation."
)

Activity = dict[str, tuple[float, float]]
"""Mean activation of the kept and of the removed outputs, by layer."""


@dataclass(frozen=True)
class _Layer:
    """A layer that differs from the parent's.

    Attributes:
        name: name of the layer.
        before: number of outputs in the parent.
        after: number of outputs now.
        zeros: fraction of its weights that is zero, where zeros are kept; else None.
        activity: mean activation of the kept and of the removed outputs; None if it is unknown.
    """

    name: str
    before: int
    after: int
    zeros: float | None
    activity: tuple[float, float] | None


def widths(contents: Contents) -> Markup:
    """A bar per changed layer, for each model whose layers differ from its parent's."""
    activity: dict[str, Activity] = {}
    for row in contents.activity:
        activity.setdefault(row["model"], {})[row["layer"]] = row["kept"], row["cut"]
    models = contents.root / MODELS
    drawn = [
        _model(models, name, row, activity.get(name, {}))
        for name, row in contents.rows.items()
        if row["parent"]
    ]
    shown = [one for one in drawn if one is not None]
    if not shown:
        shown = [tag("p", "No model has layers that differ from its parent's.")]
    cards = tag("div", *shown, class_="cards")
    return section("widths", "Layers before and after", _EXPLANATION, legend(_LEGEND), cards)


def _model(models: Path, name: str, row: Row, activity: Activity) -> Markup | None:
    """The changed layers of a model; None if it has another network or no changed layer."""
    parent = row["parent"]
    pair = _architectures(models, name, parent)
    if pair is None:
        return None
    own, former = pair
    layers = _changed(models / name, own, former, activity)
    removed = [layer for layer in own.removed if layer not in former.removed]
    if not layers and not removed:
        return None
    narrower = any(layer.before != layer.after for layer in layers)
    unrecorded = row["by"] == "prune" and narrower and not (models / name / CUT).is_file()
    plural = "" if len(layers) == 1 else "s"
    title = f"{name}: {len(layers)} layer{plural} changed against {parent}"
    bars = tag("table", tag("tbody", join(map(_row, layers))), class_="bars") if layers else None
    opened = {"open": "open"} if len(layers) <= _FEW else {}
    return tag(
        "details",
        tag("summary", title),
        tag("p", f"Removed: {', '.join(removed)}") if removed else None,
        tag("p", _UNKNOWN, class_="note") if unrecorded else None,
        bars,
        data_model=name,
        **opened,
    )


def _architectures(
    models: Path, name: str, parent: str
) -> tuple[Architecture, Architecture] | None:
    """The architectures of a model and its parent, if one factory built both."""
    folders = models / name, models / parent
    if not all((folder / ARCHITECTURE).is_file() for folder in folders):
        return None
    own, former = (read_architecture(folder) for folder in folders)
    same = (own.factory, own.arguments) == (former.factory, former.arguments)
    return (own, former) if same else None


def _changed(
    folder: Path, own: Architecture, former: Architecture, activity: Activity
) -> list[_Layer]:
    zeros = _zeros(folder, own)
    changed = []
    for weight, before in former.shapes.items():
        after = own.shapes.get(weight)
        if after is None or not weight.endswith(_SUFFIX) or len(before) < 2:
            continue
        if before[0] != after[0] or weight in zeros:
            name = weight.removesuffix(_SUFFIX)
            layer = _Layer(name, before[0], after[0], zeros.get(weight), activity.get(name))
            changed.append(layer)
    return changed


def _zeros(folder: Path, own: Architecture) -> dict[str, float]:
    """The fraction of zeros in each weight whose zeros are kept."""
    if not own.masked:
        return {}
    fractions = {}
    path = folder / WEIGHTS
    with reading(path, "safetensors"), safe_open(path, framework="np") as file:
        stored = set(file.keys())
        for name in own.masked:
            if name in stored:
                fractions[name] = float((file.get_tensor(name) == 0).mean())
    return fractions


def _row(layer: _Layer) -> Markup:
    kept = layer.after / layer.before
    labels = []
    if layer.before != layer.after:
        labels.append(f"{layer.before} to {layer.after}")
    if layer.zeros is not None:
        kept *= 1 - layer.zeros
        labels.append(f"{100 * layer.zeros:.0f} % zeros")
    label = ", ".join(labels)
    if layer.activity is None:
        return bar_row(layer.name, None, bar(kept), label, title=layer.name)
    stayed, removed = layer.activity
    highest = max(stayed, removed) or 1.0
    bars = [
        bar(kept),
        bar(stayed / highest, class_="thin stayed"),
        bar(removed / highest, class_="thin cut"),
    ]
    numbers = tag("span", f"{stayed:.2g}, removed {removed:.2g}", class_="range")
    return bar_row(layer.name, None, join(bars), label, numbers, title=layer.name)

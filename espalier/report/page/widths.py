"""What pruning and folding made of the layers: widths before and after, layers that are gone, and zeros."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from espalier.models.architecture import Architecture
from espalier.models.folder import read_architecture
from espalier.paths import ARCHITECTURE, CUT, MODELS, WEIGHTS
from espalier.report.page.bars import bar, line
from espalier.report.page.contents import Contents, Row
from espalier.report.page.markup import Markup, join, section, tag

_FEW = 24  # layers of a model that are shown without being asked for
_SUFFIX = ".weight"
_LEGEND = {
    "by-prune": "outputs left",
    "stayed": "activity of those that stayed",
    "cut": "of those that were cut",
}
_UNKNOWN = "How active the outputs were that were cut is not known: this model was made before Espalier recorded which."


@dataclass(frozen=True)
class _Layer:
    """A layer that is not as it was.

    Attributes:
        name: Of the layer.
        before: Its outputs in the parent.
        after: Its outputs now.
        zeros: The part of its weights that is zero, where zeros are kept.
        active: How active the outputs that stayed and those that were cut were in the parent, if it is known.
    """

    name: str
    before: int
    after: int
    zeros: float | None
    active: tuple[float, float] | None


def widths(contents: Contents) -> Markup:
    """For each model whose layers differ from its parent's, a bar per layer that was changed."""
    active: dict[str, dict[str, tuple[float, float]]] = {}
    for one in contents.activity:
        active.setdefault(one["model"], {})[one["layer"]] = one["kept"], one["cut"]
    models = contents.root / MODELS
    drawn = [
        _model(models, name, row, active.get(name, {}))
        for name, row in contents.rows.items()
        if row["parent"]
    ]
    shown = [one for one in drawn if one is not None]
    explanation = (
        "Outputs of each layer that is narrower than in the model it was made from (channels of a convolution, "
        "features of a linear layer), and weights of which single numbers were pruned. Layers that are as they were "
        "are left out. The thin bars say how active the outputs that stayed and those that were cut were in that model "
        "on validation images: their mean size as the layers that read them see it, behind norm and rectifier."
    )
    if not shown:
        shown = [tag("p", "No model has layers that differ from its parent's.")]
    legend = tag(
        "ul",
        *(tag("li", tag("span", class_=f"swatch {key}"), said) for key, said in _LEGEND.items()),
        class_="legend",
    )
    return section(
        "widths", "Layers before and after", explanation, legend, tag("div", *shown, class_="cards")
    )


def _model(
    models: Path, name: str, row: Row, active: dict[str, tuple[float, float]]
) -> Markup | None:
    parent = row["parent"]
    if not all((models / one / ARCHITECTURE).is_file() for one in (name, parent)):
        return None
    own, former = read_architecture(models / name), read_architecture(models / parent)
    if (own.factory, own.arguments) != (former.factory, former.arguments):
        return None  # another network: nothing was cut
    layers = _changed(models / name, own, former, active)
    gone = [layer for layer in own.changes.removed if layer not in former.changes.removed]
    if not layers and not gone:
        return None
    rows = join(_row(layer) for layer in layers)
    said = f"{name}: {len(layers)} layer{'' if len(layers) == 1 else 's'} changed against {parent}"
    narrower = any(layer.before != layer.after for layer in layers)
    unknown = row["by"] == "prune" and narrower and not (models / name / CUT).is_file()
    return tag(
        "details",
        tag("summary", said),
        tag("p", f"Removed: {', '.join(gone)}") if gone else None,
        tag("p", _UNKNOWN, class_="note") if unknown else None,
        tag("table", tag("tbody", rows), class_="bars") if layers else None,
        data_model=name,
        **({"open": "open"} if len(layers) <= _FEW else {}),
    )


def _changed(
    folder: Path, own: Architecture, former: Architecture, active: dict[str, tuple[float, float]]
) -> list[_Layer]:
    zeros = _zeros(folder, own)
    found = []
    for weight, before in former.shapes.items():
        after = own.shapes.get(weight)
        if after is None or not weight.endswith(_SUFFIX) or len(before) < 2:
            continue
        if before[0] != after[0] or weight in zeros:
            name = weight.removesuffix(_SUFFIX)
            found.append(_Layer(name, before[0], after[0], zeros.get(weight), active.get(name)))
    return found


def _zeros(folder: Path, own: Architecture) -> dict[str, float]:
    """The part of zeros in the weights that keep theirs."""
    if not own.changes.zeros:
        return {}
    with safe_open(folder / WEIGHTS, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in own.changes.zeros if name in file.keys()}  # noqa: SIM118
    return {name: float((tensor == 0).mean()) for name, tensor in tensors.items()}


def _row(layer: _Layer) -> Markup:
    kept = layer.after / layer.before
    said = f"{layer.before} to {layer.after}" if layer.before != layer.after else ""
    if layer.zeros is not None:
        kept *= 1 - layer.zeros
        said += f"{', ' if said else ''}{100 * layer.zeros:.0f} % zeros"
    if layer.active is None:
        return line(layer.name, None, bar(kept), said, title=layer.name)
    stayed, cut = layer.active
    most = max(stayed, cut) or 1.0
    bars = bar(kept), bar(stayed / most, class_="thin stayed"), bar(cut / most, class_="thin cut")
    figures = tag("span", f"{stayed:.2g}, cut {cut:.2g}", class_="range")
    return line(layer.name, None, join(bars), said, figures, title=layer.name)

"""What pruning and folding made of the layers: widths before and after, layers that are gone, and zeros."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from espalier.models.architecture import Architecture
from espalier.models.folder import read_architecture
from espalier.paths import ARCHITECTURE, MODELS, WEIGHTS
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, section, tag

_FEW = 24  # layers of a model that are shown without being asked for
_SUFFIX = ".weight"


@dataclass(frozen=True)
class _Layer:
    """Outputs of a layer before and after, and the part of its weights that is zero, where zeros are kept."""

    name: str
    before: int
    after: int
    zeros: float | None


def widths(contents: Contents) -> Markup:
    """For each model whose layers differ from its parent's, a bar per layer that was changed."""
    drawn = [
        _model(contents.root / MODELS, name, row["parent"]) for name, row in contents.rows.items() if row["parent"]
    ]
    shown = [one for one in drawn if one is not None]
    explanation = (
        "Outputs of each layer that is narrower than in the model it was made from (channels of a convolution, "
        "features of a linear layer), and weights of which single numbers were pruned. Layers that are as they were "
        "are left out."
    )
    if not shown:
        shown = [tag("p", "No model has layers that differ from its parent's.")]
    return section("widths", "Layers before and after", explanation, tag("div", *shown, class_="cards"))


def _model(models: Path, name: str, parent: str) -> Markup | None:
    if not all((models / one / ARCHITECTURE).is_file() for one in (name, parent)):
        return None
    own, former = read_architecture(models / name), read_architecture(models / parent)
    if (own.factory, own.arguments) != (former.factory, former.arguments):
        return None  # another network: nothing was cut
    layers = _changed(models / name, own, former)
    gone = [layer for layer in own.changes.removed if layer not in former.changes.removed]
    if not layers and not gone:
        return None
    rows = join(_row(layer) for layer in layers)
    said = f"{name}: {len(layers)} layer{'' if len(layers) == 1 else 's'} changed against {parent}"
    return tag(
        "details",
        tag("summary", said),
        tag("p", f"Removed: {', '.join(gone)}") if gone else None,
        tag("table", tag("tbody", rows), class_="bars") if layers else None,
        data_model=name,
        **({"open": "open"} if len(layers) <= _FEW else {}),
    )


def _changed(folder: Path, own: Architecture, former: Architecture) -> list[_Layer]:
    zeros = _zeros(folder, own)
    found = []
    for weight, before in former.shapes.items():
        after = own.shapes.get(weight)
        if after is None or not weight.endswith(_SUFFIX) or len(before) < 2:
            continue
        if before[0] != after[0] or weight in zeros:
            found.append(_Layer(weight.removesuffix(_SUFFIX), before[0], after[0], zeros.get(weight)))
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
    bar = tag("span", tag("i", style=f"width:{100 * kept:.1f}%"))
    return tag(
        "tr",
        tag("th", _broken(layer.name), scope="row", title=layer.name),
        tag("td", bar, class_="bar"),
        tag("td", said),
    )


def _broken(name: str) -> Markup:
    """A name that may go on in another line after each of its dots."""
    *before, last = name.split(".")
    return join((*(part for piece in before for part in (f"{piece}.", tag("wbr"))), last))

"""Default pairs of layers for two networks of any kind."""

from collections.abc import Sequence

from espalier.distillation.features.layers import Layer


def default_pairs(student: Sequence[Layer], teacher: Sequence[Layer]) -> dict[str, str]:
    """Names of the student's layers, each with the name of the teacher's layer that it imitates.

    They are the last layers at the resolutions that both networks have. If there is no such
    resolution, or the layers have no positions, each is paired with the teacher's layer of the same
    relative depth.

    Args:
        student: layers of the student, from `layers`.
        teacher: layers of the teacher, likewise.
    """
    ours, theirs = ends(student), ends(teacher)
    if not ours or not theirs:
        return {}
    by_size = {layer.size: layer for layer in theirs}
    shared = {layer.name: by_size[layer.size].name for layer in ours if layer.size in by_size}
    if shared and max(ours[0].size) > 1:
        return shared
    count, most = len(ours), len(theirs)
    return {
        layer.name: theirs[-(-(place + 1) * most // count) - 1].name
        for place, layer in enumerate(ours)
    }


def ends(found: Sequence[Layer]) -> list[Layer]:
    """The last layer at each resolution, or, without positions, of each run of layers of one width.

    Layers inside a block that ends at another resolution do not count, and blocks are preferred to
    single layers.
    """
    spatial: dict[tuple[int, int], Layer] = {}
    for layer in found:
        if max(layer.size) == 1 or layer.crossing:
            continue
        former = spatial.get(layer.size)
        if former is None or layer.block or not former.block:
            spatial[layer.size] = layer
    if spatial:
        order = {layer.name: place for place, layer in enumerate(found)}
        return sorted(spatial.values(), key=lambda layer: order[layer.name])
    widths = [layer.shape for layer in found[1:]] + [None]
    return [layer for layer, after in zip(found, widths, strict=False) if layer.shape != after]

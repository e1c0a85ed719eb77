"""The structure of a network as data: an ordered list of typed edits since its factory built it.

>>> from espalier.models import build
>>> from espalier.models.structure import edits_of, remove
>>> network = build(
...     "espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 14, "width": 4}
... )
>>> remove(network, ["stages.0.1"])
>>> edits_of(network)
(Removed(layers=('stages.0.1',)),)
"""

from espalier.models.structure.edits import (
    Edit,
    Masked,
    Narrowed,
    Removed,
    Replaced,
    Respelled,
    Shared,
    edit_from_json,
    edit_to_json,
)
from espalier.models.structure.layer_specs import (
    LayerSpec,
    build_layer,
    describe_layer,
    settings_of,
)
from espalier.models.structure.record import (
    apply_edits,
    edits_of,
    masked_weights,
    record,
    remove,
    removed_layers,
    replace_layer,
    set_masked_weights,
    set_shared_weights,
    shared_weights,
)
from espalier.models.structure.resizing import (
    convolution_groups,
    refresh_sizes,
    replace_tensor,
)
from espalier.models.structure.spelling import Call, Spelling

__all__ = [
    "Call",
    "Edit",
    "LayerSpec",
    "Masked",
    "Narrowed",
    "Removed",
    "Replaced",
    "Respelled",
    "Shared",
    "Spelling",
    "apply_edits",
    "build_layer",
    "convolution_groups",
    "describe_layer",
    "edit_from_json",
    "edit_to_json",
    "edits_of",
    "masked_weights",
    "record",
    "refresh_sizes",
    "remove",
    "removed_layers",
    "replace_layer",
    "replace_tensor",
    "set_masked_weights",
    "set_shared_weights",
    "settings_of",
    "shared_weights",
]

"""Inputs: what an example is, how it is stored, and what the network sees of it.

One package for each kind. It owns decoding, the stored type, the facts for `dataset.json`, the
*front* (the module before the network), augmentation, and the picture in a report. Training looks
through the front, the exporter puts it into the deployed file, and no method sees it.
"""

from espalier.errors import row_named
from espalier.inputs.audio import AudioInput
from espalier.inputs.image import ImageInput
from espalier.inputs.kind import Augmentations, Decoder, Front, InputKind
from espalier.inputs.table import TableInput
from espalier.inputs.tensor import TensorInput
from espalier.inputs.text import TextInput

INPUTS: dict[str, InputKind] = {
    "image": ImageInput(),
    "audio": AudioInput(),
    "text": TextInput(),
    "table": TableInput(),
    "tensor": TensorInput(),
}


def input_named(name: str) -> InputKind:
    """The input kind of a name.

    Raises:
        BadInput: if there is none.
    """
    return row_named(INPUTS, name, "an input kind")


__all__ = ["INPUTS", "Augmentations", "Decoder", "Front", "InputKind", "input_named"]

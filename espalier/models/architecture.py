"""What a network is, beside its weights: the function that builds it, and what was changed since."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from torch import nn

from espalier.errors import BadInput
from espalier.models.attention import heads_of
from espalier.models.changes import Changes, changes_of
from espalier.models.fit import groups_of

_ATTRIBUTE = "_espalier_architecture"


@dataclass(frozen=True)
class Architecture:
    """A recipe to rebuild a network.

    Attributes:
        factory: `espalier:NAME`, `torchvision:NAME` or `package.module:function`.
        classes: Outputs of the classifier.
        shape: Channels, height and width of an image.
        arguments: Keyword arguments of the factory.
        shapes: Shape of every parameter and buffer, by its name: what surgery made of them.
        groups: Of the convolutions that have some, by the layer's name: no shape of a weight tells them.
        heads: Of the layers that compute attention and spell how many they have.
        changes: Layers that were removed, and weights whose zeros or equal numbers stay.
        quantization: How the deployed file was quantized, if it was.
    """

    factory: str
    classes: int
    shape: tuple[int, int, int]
    arguments: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    quantization: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The content of `architecture.json`."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the content of `architecture.json` back.

        Raises:
            BadInput: If a key is missing or unknown.
        """
        try:
            changes = Changes.from_json(content.get("changes", {}))
            return cls(**{**content, "shape": tuple(content["shape"]), "changes": changes})
        except (KeyError, TypeError) as error:
            raise BadInput(
                f"An architecture should have the keys of espalier's own. Found {error}."
            ) from None

    def attach(self, module: nn.Module) -> nn.Module:
        """Remember this architecture in the network it describes, so that it can be saved; returns the network."""
        setattr(module, _ATTRIBUTE, self)
        return module


def architecture_of(module: nn.Module) -> Architecture:
    """The architecture of a network that `build` or `load` made, with the shapes it has now.

    Raises:
        BadInput: If the network was made elsewhere, so that nobody could rebuild it.
    """
    architecture = getattr(module, _ATTRIBUTE, None)
    if not isinstance(architecture, Architecture):
        raise BadInput(
            "A network should come from espalier.models.build, or know its architecture "
            f"(Architecture(...).attach(network)), to be saved. Found a {type(module).__name__} that does not."
        )
    shapes = {name: list(value.shape) for name, value in module.state_dict().items()}
    return replace(
        architecture,
        shapes=shapes,
        groups=groups_of(module),
        heads=heads_of(module),
        changes=changes_of(module),
    )

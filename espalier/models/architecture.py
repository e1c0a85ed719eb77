"""The architecture of a network: the factory that builds it, and the edits since."""

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Self

from torch import nn

from espalier.errors import BadInput
from espalier.models.structure import (
    Edit,
    Masked,
    Narrowed,
    Removed,
    Replaced,
    Respelled,
    Shared,
    edit_from_json,
    edit_to_json,
    edits_of,
)

_LARGEST_SIZE = 2**31
_ATTRIBUTE = "_espalier_architecture"
_EARLIER_KEYS = (
    "shapes",
    "groups",
    "heads",
    "changes",
)  # of folders written before there were edits


@dataclass(frozen=True)
class Architecture:
    """A recipe to rebuild a network.

    Attributes:
        factory: `espalier:NAME`, `torchvision:NAME` or `package.module:function`.
        classes: Number of outputs of the classifier.
        shape: Channels, height and width of an image.
        arguments: Keyword arguments of the factory.
        edits: Changes of the network since its factory built it, in the order in which they are
            applied.
        quantization: quantization of the deployed file; None if there is none.
        preprocessing: preprocessing that the network brings along, which its front applies; None
            for the front of the data.
        concepts: names of the classes of the data of each output, by the name of the output; None
            for all classes, one by one.
    """

    factory: str
    classes: int
    shape: tuple[int, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    quantization: dict[str, Any] | None = None
    preprocessing: dict[str, Any] | None = None
    concepts: dict[str, list[str]] | None = None

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Shape of every parameter and buffer, by its name; empty without a `Narrowed` edit."""
        shapes: dict[str, list[int]] = {}
        for edit in self.edits:
            if isinstance(edit, Narrowed):
                shapes |= {name: list(shape) for name, shape in edit.shapes.items()}
        return shapes

    @property
    def removed(self) -> tuple[str, ...]:
        """Names of the layers that were removed."""
        removals = [edit for edit in self.edits if isinstance(edit, Removed)]
        return tuple(name for removal in removals for name in removal.layers)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Names of the layers that were replaced by a composition of layers."""
        return tuple(edit.layer for edit in self.edits if isinstance(edit, Replaced))

    @property
    def masked(self) -> tuple[str, ...]:
        """Names of the weights whose zeros stay zero."""
        masks = [edit for edit in self.edits if isinstance(edit, Masked)]
        return tuple(name for mask in masks for name in mask.weights)

    def as_json(self) -> dict[str, Any]:
        """The content of `architecture.json`."""
        # absent where there is none: the content hash of such models stays what it was
        further = {"preprocessing": self.preprocessing, "concepts": self.concepts}
        own = {name: value for name, value in further.items() if value is not None}
        return {
            "factory": self.factory,
            "classes": self.classes,
            "shape": list(self.shape),
            "arguments": self.arguments,
            "edits": [edit_to_json(edit) for edit in self.edits],
            "quantization": self.quantization,
            **own,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Read the content of `architecture.json`, also of earlier versions.

        Raises:
            BadInput: If a key is missing or unknown.
        """
        fields = dict(content)
        try:
            shape = fields.pop("shape")
            arguments = fields.get("arguments", {})
            check_fields(fields["factory"], fields["classes"], shape, arguments)
            if "edits" in fields:
                edits = tuple(edit_from_json(edit) for edit in fields.pop("edits"))
            else:
                earlier = {key: fields.pop(key) for key in _EARLIER_KEYS if key in fields}
                edits = _edits_of_earlier_keys(**earlier)
            found = cls(**fields, shape=tuple(shape), edits=edits)
            if not all(map(_is_size, chain.from_iterable(found.shapes.values()))):
                raise ValueError("shapes that are no sizes")
            return found
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(
                f"Expected the keys of an architecture that Espalier wrote; found {error}."
            ) from None

    def attach(self, module: nn.Module) -> nn.Module:
        """Store this architecture in the network it describes, for `save`; returns the network."""
        setattr(module, _ATTRIBUTE, self)
        return module


def check_fields(factory: Any, classes: Any, shape: Any, arguments: Any) -> None:
    """Refuse fields of other types or absurd sizes.

    Raises:
        BadInput: if there is one; the message has it.
    """
    known = {
        "a name as `factory`": isinstance(factory, str),
        "a number above 0 as `classes`": _is_size(classes),
        "sizes as `shape`": isinstance(shape, list | tuple) and all(map(_is_size, shape)),
        "a mapping as `arguments`": isinstance(arguments, dict),
    }
    wrong = [words for words, holds in known.items() if not holds]
    if wrong:
        found = str([factory, classes, shape, arguments])[:100]
        raise BadInput(f"Expected {wrong[0]} of an architecture; found {found}.")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_SIZE


def architecture_of(module: nn.Module) -> Architecture:
    """The architecture of a network of `build` or `load`, with its present edits and sizes.

    Raises:
        BadInput: If the network was made elsewhere, so that it cannot be rebuilt.
    """
    architecture = getattr(module, _ATTRIBUTE, None)
    if not isinstance(architecture, Architecture):
        raise BadInput(
            "Expected a network of espalier.models.build, or one with an architecture "
            f"(Architecture(...).attach(network)), to be saved; found a {type(module).__name__} "
            "without."
        )
    kinds = (Removed, Replaced, Respelled)
    structural = [edit for edit in edits_of(module) if isinstance(edit, kinds)]
    held = [edit for edit in edits_of(module) if isinstance(edit, Masked | Shared)]
    return replace(architecture, edits=(*structural, Narrowed.of(module), *held))


def _edits_of_earlier_keys(
    shapes: dict[str, list[int]] | None = None,
    groups: dict[str, int] | None = None,
    heads: dict[str, int] | None = None,
    changes: dict[str, list[str]] | None = None,
) -> tuple[Edit, ...]:
    """The edits of an architecture that has a key for each kind of change."""
    edits: list[Edit] = []
    names: dict[str, list[str]] = {"removed": [], "zeros": [], "shared": []}
    names |= changes or {}
    unknown = set(names) - {"removed", "zeros", "shared"}
    if unknown:
        raise TypeError(f"unexpected key {min(unknown)!r}")
    if names["removed"]:
        edits.append(Removed(tuple(names["removed"])))
    if shapes is not None:
        edits.append(Narrowed(shapes, groups or {}, heads or {}))
    if names["zeros"]:
        edits.append(Masked(tuple(names["zeros"])))
    if names["shared"]:
        edits.append(Shared(tuple(names["shared"])))
    return tuple(edits)

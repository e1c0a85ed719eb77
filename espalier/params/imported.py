"""Entries of networks that were trained elsewhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from espalier.params.entry import BuiltEntry, ChildEntry, Trained
from espalier.settings.images import ImagePreprocessing
from espalier.settings.programs import PROGRAM, program_refusal

_PUBLISHING = ("torchvision", "timm")  # libraries with weights of their own
_ONNX = "espalier:onnx"  # factory of the networks of ONNX files
_SUFFIX = ".onnx"
_NO_NETWORK = ("model", "arguments", "key")  # keys that an ONNX file answers


class Imported(Trained, BuiltEntry):
    """A network that was trained elsewhere: taken as it is, or trained further on labels.

    Attributes:
        model: factory of the network that the weights belong to; an ONNX file has its own.
        arguments: arguments of the factory.
        weights: file of the weights, relative to the project; or a name of torchvision's or timm's
            own weights, such as `DEFAULT`; or an ONNX file, which holds the network as well.
        key: key of the weights in a checkpoint; by default they are looked for in the usual places.
        input: preprocessing that belongs to the weights. By default that of published weights, or
            else the normalisation by mean and deviation of the data.
        head: `new` leaves the last layer with random weights, where the weights have another number
            of classes.
        expect: accuracy that is known of the network. If its accuracy on validation is below that by
            more than chance explains, the import is refused.
        epochs: number of epochs of further training; 0 takes the network as it is. All other keys of
            `training` may be given too.
    """

    own_weights: ClassVar[bool] = True

    weights: str = Field(min_length=1)
    key: str | None = None
    input: ImagePreprocessing | None = None
    head: Literal["new"] | None = None
    expect: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _onnx_file_is_a_network(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        weights = str(given.get("weights", ""))
        if Path(weights).suffix == PROGRAM:
            raise ValueError(program_refusal(weights))
        if Path(weights).suffix != _SUFFIX:
            return given
        extra = [
            key for key in _NO_NETWORK if key in given and (key, given[key]) != ("model", _ONNX)
        ]
        if extra:
            raise ValueError(
                f"Expected no `{extra[0]}` beside an ONNX file, which holds its network; found "
                f"{given[extra[0]]!r}."
            )
        return {**given, "model": _ONNX}

    @model_validator(mode="after")
    def _graph_comes_with_its_weights(self) -> Self:
        if self.model == _ONNX and self.onnx_file is None:
            raise ValueError(
                f"Expected `weights` of {_ONNX} to be an ONNX file; found {self.weights!r}."
            )
        return self

    @model_validator(mode="after")
    def _new_head_is_trained(self) -> Self:
        if self.head == "new" and not self.recipe_keys["epochs"]:
            raise ValueError(
                "Expected `epochs` above 0 beside `head: new`, whose weights are random; found 0."
            )
        return self

    @property
    def recipe_keys(self) -> dict[str, Any]:
        """Keys of `training` that the entry overrides; without `epochs` nothing is trained."""
        return {"epochs": 0, **self.overrides}

    @property
    def is_published(self) -> bool:
        """Whether `weights` is the name of weights that a library publishes, and no file."""
        is_name = not Path(self.weights).suffix and "/" not in self.weights
        return self.model.partition(":")[0] in _PUBLISHING and is_name

    @property
    def own_files(self) -> tuple[str, ...]:
        """The file of the weights, if they are no published ones."""
        return () if self.is_published else (self.weights,)

    @property
    def onnx_file(self) -> str | None:
        """The ONNX file; None if `weights` is another one."""
        return self.weights if Path(self.weights).suffix == _SUFFIX else None

    @property
    def new_head(self) -> bool:
        """Whether the last layer gets random weights."""
        return self.head == "new"

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """The preprocessing that belongs to the weights; None for that of the data."""
        if self.input is not None:
            return asdict(self.input)
        if not self.is_published:
            return None
        # here: torch, which takes seconds
        from espalier.models.trained import published_preprocessing

        return published_preprocessing(self.model, self.weights)


class ImportedTeacher(Imported):
    """A network trained elsewhere as the root of the tree."""

    by: Literal["import"]


class Import(Imported, ChildEntry):
    """A network trained elsewhere, as another model of the tree; `from` says what it is compared with."""

    by: Literal["import"]

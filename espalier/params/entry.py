"""Parts that the entries of `params.yaml` have in common."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from espalier.params.strict import RECIPE_KEYS, Strict

LIBRARIES = ("espalier", "torchvision", "timm")  # packages whose factories need no trust


class BaseEntry(Strict):
    """An entry: how one model is made.

    The properties name what the model depends on. They hold for every kind of entry, so that no
    caller has to know the kinds.
    """

    by: str

    @property
    def origin(self) -> str | None:
        """Name of the parent; None for the teacher."""
        return None

    @property
    def factory(self) -> str | None:
        """Factory of a new network; None if training starts from the parent's network."""
        return None

    @property
    def factory_arguments(self) -> dict[str, Any]:
        """Arguments of the factory."""
        return {}

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """The preprocessing that a new network brings along; None for that of the data."""
        return None

    @property
    def concepts(self) -> dict[str, tuple[str, ...]] | None:
        """Names of the classes of each output; None for those of the parent."""
        return None

    @property
    def seeds(self) -> int:
        """Number of seeds with which the model is made, to keep the median one."""
        return 1

    @property
    def processes(self) -> int:
        """Number of processes that train the model together."""
        return 1

    @property
    def own_files(self) -> tuple[str, ...]:
        """Files of the user, relative to the project, that the model is made from."""
        return ()

    @property
    def onnx_file(self) -> str | None:
        """ONNX file, relative to the project, that a new network is rebuilt from; None for none."""
        return None

    @property
    def new_head(self) -> bool:
        """Whether the last layer of a trained network gets random weights."""
        return False

    @property
    def own_functions(self) -> tuple[str, ...]:
        """Functions of trusted packages, `package.module:function`, that the entry names as methods."""
        return ()

    @property
    def teaching(self) -> tuple[str, ...]:
        """Names of the models whose outputs are part of the loss."""
        return ()

    @property
    def chosen_teachers(self) -> tuple[str, ...]:
        """Names under `teachers`; empty if the entry leaves them to the operation."""
        return ()

    @property
    def dependencies(self) -> tuple[str, ...]:
        """Names of the models that have to be made before this one."""
        return () if self.origin is None else (self.origin,)

    @property
    def recipe_keys(self) -> dict[str, Any]:
        """Keys of `training` that the entry overrides."""
        return {}

    @property
    def all_recipe_keys(self) -> tuple[dict[str, Any], ...]:
        """`recipe_keys` of every training of the entry; most entries have one training."""
        return (self.recipe_keys,)

    @property
    def trainings(self) -> tuple[dict[str, Any], ...]:
        """`recipe_keys` of every training that the other keys of the entry ask for."""
        return self.all_recipe_keys


class ChildEntry(BaseEntry):
    """An entry with a parent."""

    parent: str = Field(alias="from")

    @property
    def origin(self) -> str:
        """Name of the parent."""
        return self.parent


class BuiltEntry(BaseEntry):
    """An entry with a new network.

    Attributes:
        model: factory of the network.
        arguments: arguments of the factory.
    """

    model: str
    arguments: dict[str, Any] = {}

    @property
    def factory(self) -> str:
        """Factory of the network."""
        return self.model

    @property
    def factory_arguments(self) -> dict[str, Any]:
        """Arguments of the factory."""
        return self.arguments


class Parallel(BaseEntry):
    """An entry that several processes can train together.

    Attributes:
        number_of_processes: number of processes, under the key `processes`; a GPU for each, where
            there are GPUs.
    """

    number_of_processes: int = Field(1, alias="processes", ge=1, le=1024)

    @property
    def processes(self) -> int:
        """Number of processes that train the model together."""
        return self.number_of_processes


class Trained(Parallel):
    """An entry whose keys of `training`, given beside its own, override the defaults.

    Attributes:
        overrides: keys of `training`.
        number_of_seeds: number of seeds, under the key `seeds`.
    """

    own_weights: ClassVar[bool] = False
    """Whether a new network of the entry comes with trained weights."""

    overrides: dict[str, Any] = {}
    number_of_seeds: int = Field(1, alias="seeds", ge=1, le=100)

    @property
    def seeds(self) -> int:
        """Number of seeds with which the model is made, to keep the median one."""
        return self.number_of_seeds

    @model_validator(mode="before")
    @classmethod
    def _collect_overrides(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        overrides = {key: value for key, value in given.items() if key in RECIPE_KEYS}
        own = {key: value for key, value in given.items() if key not in overrides}
        return {**own, "overrides": overrides}

    @property
    def recipe_keys(self) -> dict[str, Any]:
        """Keys of `training` that the entry overrides."""
        return self.overrides


class Further(Trained, ChildEntry):
    """An entry that trains a new network, or its parent's further.

    Attributes:
        model: factory of a new network; if absent, the parent is trained further.
        arguments: arguments of the factory.
    """

    model: str | None = None
    arguments: dict[str, Any] = {}

    @model_validator(mode="after")
    def _arguments_are_of_a_factory(self) -> Self:
        if self.arguments and self.model is None:
            raise ValueError(
                "Expected `model` beside `arguments`: without it the parent is trained further; found "
                "`arguments` alone."
            )
        return self

    @property
    def factory(self) -> str | None:
        """Factory of a new network; None to train the parent further."""
        return self.model

    @property
    def factory_arguments(self) -> dict[str, Any]:
        """Arguments of the factory."""
        return self.arguments

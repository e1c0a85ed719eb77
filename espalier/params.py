"""The schema of `params.yaml`: parsed once, here, into frozen values; unknown keys are refused by name."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from espalier.errors import BadInput
from espalier.paths import PARAMS, TEACHER
from espalier.training.recipe import Recipe

_RECIPE_KEYS = frozenset(field.name for field in fields(Recipe))
_RESERVED = (TEACHER, "latest", "champion", "previous")  # aliases in the registry that mean something else
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Strict(BaseModel):
    """A section of the file: immutable, and with no other keys than these."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())


class Data(Strict):
    """How `data/` becomes `prepared/`.

    Attributes:
        validation: Fraction of the examples outside the test split that is held back for choices.
        test: Fraction held back for evaluation, where the data do not come with a test split.
        duplicates: What to do about the same image in train and test: refuse, or drop it from train.
        crop: Pixels by which training images are shifted at random; -1 takes the data set's own default.
        flip: Whether they are mirrored; absent takes the data set's own default.
    """

    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    duplicates: Literal["refuse", "drop"] = "refuse"
    crop: int = Field(-1, ge=-1)
    flip: bool | None = None


class Soft(Strict):
    """Soft targets (Hinton et al. 2015): the weight of the teacher's answers beside the labels, and the temperature."""

    temperature: float = Field(4.0, gt=0)
    weight: float = Field(0.9, ge=0, le=1)


class _Trained(Strict):
    """An entry that is trained: keys of `training` given here override the defaults for this entry."""

    model: str | None = None
    arguments: dict[str, Any] = {}
    overrides: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _collect_overrides(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        overrides = {key: value for key, value in given.items() if key in _RECIPE_KEYS}
        return {key: value for key, value in given.items() if key not in overrides} | {"overrides": overrides}


class Teacher(_Trained):
    """The large network that everything else comes from."""

    by: Literal["train"] = "train"
    model: str


class Train(_Trained):
    """Trained on labels alone: a new network where `model` is given, else the parent further."""

    by: Literal["train"]
    parent: str = Field(alias="from")


class Distill(_Trained):
    """A new, smaller network taught by its parent."""

    by: Literal["distill"]
    parent: str = Field(alias="from")
    model: str
    soft: Soft = Soft()


class Prune(Strict):
    """Channels of the parent removed, then recovered by distillation from the teacher.

    Attributes:
        score: Which channels matter.
        keep_macs: Multiply-accumulates to keep, as a fraction of the nearest ancestor that no pruning has touched.
        align: Kept channels are a multiple of this, as far as the layer's width is one.
        finetune: Keys of `training` for the recovery; 0 epochs turn it off.
        soft: The distillation of the recovery.
    """

    by: Literal["prune"]
    parent: str = Field(alias="from")
    score: Literal["magnitude", "taylor"] = "magnitude"
    keep_macs: float = Field(gt=0, le=1)
    align: int = Field(8, ge=1)
    finetune: dict[str, Any] = {}
    soft: Soft = Soft()


class Quantize(Strict):
    """The parent's ONNX file in static int8: unsigned activations, signed weights per channel.

    Attributes:
        scheme: `static`: ranges of activations are measured on training images.
        calibration: How a range is chosen from what was measured.
        images: How many training images are measured.
        reduce_range: 7-bit weights: exact on processors without VNNI, whose 8-bit products can saturate.
    """

    by: Literal["quantize"]
    parent: str = Field(alias="from")
    scheme: Literal["static"] = "static"
    calibration: Literal["minmax", "percentile", "entropy"] = "entropy"
    images: int = Field(256, ge=1)
    reduce_range: bool = True


Entry = Annotated[Train | Distill | Prune | Quantize, Field(discriminator="by")]


class Evaluation(Strict):
    """How models are measured: rounds and threads of the latency, images per call of the accuracy."""

    rounds: int = Field(60, ge=3)
    threads: int = Field(1, ge=1)
    batch_size: int = Field(256, ge=1)


class Registry(Strict):
    """The registered model in MLflow that all versions belong to."""

    name: str = Field("digits", pattern=r"^[^/:]+$")


class Params(Strict):
    """All of `params.yaml`."""

    seed: int = Field(0, ge=0)
    trusted: tuple[str, ...] = ()
    data: Data = Data()
    training: Recipe = Recipe()
    teacher: Teacher
    models: dict[str, Entry] = {}
    evaluation: Evaluation = Evaluation()
    registry: Registry = Registry()

    def entry(self, name: str) -> Teacher | Train | Distill | Prune | Quantize:
        """The entry called `name`; the teacher's is `teacher`.

        Raises:
            BadInput: If there is none; it lists the known ones.
        """
        if name == TEACHER:
            return self.teacher
        if name not in self.models:
            known = ", ".join(self.names)
            raise BadInput(f"A model should be one that {PARAMS} declares: {known}. Found {name!r}.")
        return self.models[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All models, parents before children."""
        children: dict[str, list[str]] = {}
        for name, entry in self.models.items():
            children.setdefault(entry.parent, []).append(name)
        ordered, todo = [], [TEACHER]
        while todo:
            ordered.append(todo.pop(0))
            todo = children.get(ordered[-1], []) + todo
        return tuple(ordered)

    def recipe(self, overrides: dict[str, Any]) -> Recipe:
        """The training defaults with the overrides of one entry.

        Raises:
            BadInput: If an override is unknown or of a wrong type or value.
        """
        unknown = sorted(set(overrides) - _RECIPE_KEYS)
        if unknown:
            raise BadInput(f"Training keys should be among {', '.join(sorted(_RECIPE_KEYS))}. Found {unknown[0]!r}.")
        merged = {name: getattr(self.training, name) for name in _RECIPE_KEYS} | overrides
        return _RECIPE.validate_python(merged) if overrides else self.training


_RECIPE = TypeAdapter(Recipe)


def read_params(folder: Path) -> Params:
    """Read and check `params.yaml` in `folder`.

    Raises:
        BadInput: If it is missing, no YAML, or has a wrong, missing or unknown key; one sentence names the first.
    """
    path = folder / PARAMS
    try:
        return check(yaml.safe_load(path.read_text()) or {})
    except FileNotFoundError:
        raise BadInput(f"{path} should exist. Found nothing there.") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path} should be YAML. Found {' '.join(str(error).split())}") from None


def check(content: Any) -> Params:
    """Turn the content of `params.yaml` into checked, frozen values.

    Raises:
        BadInput: With one sentence that names the first key that is not as it should be.
    """
    try:
        params = Params.model_validate(content)
        for entry in params.models.values():
            params.recipe(getattr(entry, "overrides", {}))
            params.recipe(getattr(entry, "finetune", {}))
        params.recipe(params.teacher.overrides)
    except ValidationError as error:
        raise BadInput(_sentence(error)) from None
    _check_tree(params)
    return params


def _check_tree(params: Params) -> None:
    for name, entry in params.models.items():
        if not _NAME.fullmatch(name) or name in _RESERVED or re.fullmatch(r"v\d+", name):
            raise BadInput(
                f"A model's name should be lower-case letters, digits, '-' and '_', and none of {', '.join(_RESERVED)} "
                f"or v1, v2 ... Found {name!r} in {PARAMS}."
            )
        if entry.parent != TEACHER and entry.parent not in params.models:
            raise BadInput(f"models.{name}.from should name the teacher or another model. Found {entry.parent!r}.")
    lost = sorted(set(params.models) - set(params.names))
    if lost:
        raise BadInput(f"Every model should descend from the teacher. Found a circle through {', '.join(lost)}.")


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a section, of `training`
        return f"{PARAMS} should have no key `{where}`. Found {first['input']!r} there; it is unknown."
    if first["type"] == "missing":
        return f"{PARAMS} should have the key `{where}`. Found none."
    reason = first["msg"].removeprefix("Value error, ")
    if reason.startswith("`"):
        return reason
    return f"`{where}` in {PARAMS}: {reason[0].lower()}{reason[1:]}. Found {first['input']!r}."

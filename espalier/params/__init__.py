"""The schema of `params.yaml`: parsed once, here, into frozen values; unknown keys are refused by name.

Each kind of entry has a module of its own in this package.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from espalier.errors import BadInput
from espalier.params.distill import Distill, Recovered, Soft, Taught
from espalier.params.factorize import Factorize
from espalier.params.fold import Fold
from espalier.params.prune import Prune
from espalier.params.quantize import Quantize
from espalier.params.share import Share
from espalier.params.strict import RECIPE_KEYS, Strict
from espalier.params.train import Teacher, Train
from espalier.paths import PARAMS, TEACHER
from espalier.training.recipe import Recipe

__all__ = [
    "Distill",
    "Entry",
    "Factorize",
    "Fold",
    "Params",
    "Prune",
    "Quantize",
    "Recovered",
    "Share",
    "Soft",
    "Taught",
    "Teacher",
    "Train",
    "check",
    "read_params",
]

_RESERVED = (
    TEACHER,
    "latest",
    "champion",
    "previous",
)  # aliases in the registry that mean something else
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Data(Strict):
    """How `data/` becomes `prepared/`.

    Attributes:
        validation: Fraction of the examples outside the test split that is held back for choices.
        test: Fraction held back for evaluation, where the data do not come with a test split.
        duplicates: What to do about the same image in train and test: refuse, or drop it from
            train.
        crop: Pixels by which training images are shifted at random; -1 takes the data set's own
            default.
        flip: Whether they are mirrored; absent takes the data set's own default.
    """

    validation: float = Field(0.15, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    duplicates: Literal["refuse", "drop"] = "refuse"
    crop: int = Field(-1, ge=-1)
    flip: bool | None = None


Entry = Annotated[
    Train | Distill | Prune | Fold | Factorize | Quantize | Share, Field(discriminator="by")
]


class Evaluation(Strict):
    """How models are measured.

    Attributes:
        rounds: How often each model is timed at batch 64; ten times as often at batch 1.
        runtime: program that executes the deployed files, one of `espalier.runtimes.RUNTIMES`.
        threads: Of the runtime.
        batch_size: Images per call where answers are asked for, not times.
    """

    rounds: int = Field(60, ge=3)
    runtime: Literal["onnxruntime"] = "onnxruntime"
    threads: int = Field(1, ge=1)
    batch_size: int = Field(256, ge=1)


class Registry(Strict):
    """The registered model in MLflow that all versions belong to.

    Attributes:
        name: Its name.
        promote: Whether a run ends with `espalier promote`, which moves the champion if the gates
            allow it.
        webhook: An address that is told, in JSON, when an alias was moved by a promotion or a way
            back.
    """

    name: str = Field("digits", pattern=r"^[^/:?@]+$")
    promote: bool = False
    webhook: str = Field("", pattern=r"^(https?://.+)?$")


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

    def entry(self, name: str) -> Teacher | Entry:
        """The entry called `name`; the teacher's is `teacher`.

        Raises:
            BadInput: If there is none; it lists the known ones.
        """
        if name == TEACHER:
            return self.teacher
        if name not in self.models:
            known = ", ".join(self.names)
            raise BadInput(
                f"Expected a model to be one that {PARAMS} declares: {known}; found {name!r}."
            )
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

    def ancestors(self, name: str) -> tuple[str, ...]:
        """What a model descends from: its parent first, the teacher last."""
        found: list[str] = []
        while name != TEACHER:
            name = self.models[name].parent
            found.append(name)
        return tuple(found)

    def recipe(self, overrides: dict[str, Any]) -> Recipe:
        """The training defaults with the overrides of one entry.

        Raises:
            BadInput: If an override is unknown or of a wrong type or value.
        """
        unknown = sorted(set(overrides) - RECIPE_KEYS)
        if unknown:
            raise BadInput(
                f"Expected training keys to be among {', '.join(sorted(RECIPE_KEYS))}; found "
                f"{unknown[0]!r}."
            )
        merged = {name: getattr(self.training, name) for name in RECIPE_KEYS} | overrides
        return _RECIPE.validate_python(merged) if overrides else self.training


_RECIPE = TypeAdapter(Recipe)


def read_params(folder: Path) -> Params:
    """Read and check `params.yaml` in `folder`.

    Raises:
        BadInput: If it is missing, no YAML, or has a wrong, missing or unknown key; one sentence
            names the first.
    """
    path = folder / PARAMS
    try:
        return check(yaml.safe_load(path.read_text()) or {})
    except FileNotFoundError:
        raise BadInput(f"Expected {path} to exist; found nothing there.") from None
    except yaml.YAMLError as error:
        raise BadInput(
            f"Expected {path} to be YAML; found {' '.join(str(error).split())}"
        ) from None


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
            params.recipe(getattr(entry, "between", {}))
        params.recipe(params.teacher.overrides)
    except ValidationError as error:
        raise BadInput(_sentence(error)) from None
    _check_tree(params)
    return params


def _check_tree(params: Params) -> None:
    for name, entry in params.models.items():
        if not _NAME.fullmatch(name) or name in _RESERVED or re.fullmatch(r"v\d+", name):
            raise BadInput(
                "Expected a model's name to be lower-case letters, digits, '-' and '_', and none "
                f"of {', '.join(_RESERVED)} "
                f"or v1, v2 ...; found {name!r} in {PARAMS}."
            )
        if entry.parent != TEACHER and entry.parent not in params.models:
            raise BadInput(
                f"Expected models.{name}.from to name the teacher or another model; found "
                f"{entry.parent!r}."
            )
    lost = sorted(set(params.models) - set(params.names))
    if lost:
        raise BadInput(
            "Expected every model to descend from the teacher; found a circle through "
            f"{', '.join(lost)}."
        )
    for name, entry in params.models.items():
        known = params.ancestors(name)
        for teacher in getattr(entry, "teachers", None) or ():
            if teacher not in known:  # then DVC would not know that it has to be made before
                raise BadInput(
                    f"Expected models.{name}.teachers to be models that {name!r} descends from: "
                    f"{', '.join(known)}; "
                    f"found {teacher!r}."
                )


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] in (
        "extra_forbidden",
        "unexpected_keyword_argument",
    ):  # of a section, of `training`
        return f"Expected {PARAMS} to have no key `{where}`; found {first['input']!r} there; it is unknown."
    if first["type"] == "missing":
        return f"Expected {PARAMS} to have the key `{where}`; found none."
    reason = first["msg"].removeprefix("Value error, ")
    if reason.startswith(("`", "Expected")):
        return f"models.{first['loc'][1]}: {reason}" if first["loc"][:1] == ("models",) else reason
    found = f"found {first['input']!r}."
    if reason.startswith("Input should "):
        return f"Expected `{where}` in {PARAMS} to {reason.removeprefix('Input should ')}; {found}"
    return f"Expected `{where}` in {PARAMS} to be valid: {reason[0].lower()}{reason[1:]}; {found}"

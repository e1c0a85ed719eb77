"""The schema of `params.yaml`: parsed once, here, into frozen values; unknown keys are refused by name.

Each kind of entry has a module of its own in this package.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from espalier.errors import BadInput
from espalier.own_functions import refuse_library, refuse_untrusted
from espalier.params.baseline import Baseline
from espalier.params.distill import Distill, Recovered, Soft, Taught
from espalier.params.entry import BaseEntry, ChildEntry
from espalier.params.factorize import Factorize
from espalier.params.fleet import queues_of_stages
from espalier.params.fold import Fold
from espalier.params.imported import Import, Imported, ImportedTeacher
from espalier.params.processes import refuse_useless_processes
from espalier.params.prune import Prune
from espalier.params.quantize import Quantize
from espalier.params.sections import Evaluation, Registry, Sweep
from espalier.params.sentences import sentence
from espalier.params.share import Share
from espalier.params.strict import RECIPE_KEYS, Strict
from espalier.params.train import Teacher, Train
from espalier.paths import PARAMS, TEACHER
from espalier.reading import naming
from espalier.settings.data import DataSettings
from espalier.training.recipe import Recipe
from espalier.yaml_files import read_yaml

__all__ = [
    "BaseEntry",
    "Baseline",
    "ChildEntry",
    "Distill",
    "Entry",
    "Factorize",
    "Fold",
    "Import",
    "Imported",
    "ImportedTeacher",
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
    "read_content",
    "read_params",
]

_RESERVED = (
    TEACHER,
    "latest",
    "champion",
    "previous",
)  # names of aliases in the registry
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LONGEST_NAME = 100  # disks hold names of 255 bytes; drafts and locks add up to 50


Entry = Annotated[
    Train | Import | Distill | Prune | Fold | Factorize | Quantize | Share | Baseline,
    Field(discriminator="by"),
]


def _trained_by_default(given: Any) -> Any:
    return {"by": "train", **given} if isinstance(given, dict) else given


Root = Annotated[
    Annotated[Teacher | ImportedTeacher, Field(discriminator="by")],
    BeforeValidator(_trained_by_default),
]


class Params(Strict):
    """All of `params.yaml`."""

    seed: int = Field(0, ge=0)
    trusted: tuple[str, ...] = ()
    data: DataSettings = DataSettings()
    training: Recipe = Recipe()
    teacher: Root
    models: dict[str, Entry] = {}
    evaluation: Evaluation = Evaluation()
    registry: Registry = Registry()
    sweep: Sweep = Sweep()
    fleet: dict[str, tuple[str, ...]] = {}

    def entry(self, name: str) -> Teacher | ImportedTeacher | Entry:
        """The entry called `name`; the teacher's is `teacher`.

        Raises:
            BadInput: if there is none; the known names are listed.
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
    def data_settings(self) -> DataSettings:
        """Settings of the data, with the seed of the project where the split has none of its own."""
        return self.data if self.data.seed is not None else replace(self.data, seed=self.seed)

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

    @property
    def queues(self) -> dict[str, str]:
        """The work queue of each stage that a worker makes, by the name of its entry or stage.

        Raises:
            BadInput: if `fleet` names no stage, or a stage twice.
        """
        return queues_of_stages(self.fleet, self.names)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """The ancestors of a model, from its parent to the teacher."""
        found: list[str] = []
        while name != TEACHER:
            name = self.models[name].parent
            found.append(name)
        return tuple(found)

    def concepts(self, name: str) -> dict[str, tuple[str, ...]] | None:
        """Names of the classes of each output of a model, from the nearest entry with `classes`.

        None stands for all classes of the data, one by one.
        """
        found = (self.entry(one).concepts for one in (name, *self.ancestors(name)))
        return next((one for one in found if one is not None), None)

    def recipe(self, overrides: dict[str, Any]) -> Recipe:
        """The training defaults with the keys of one entry.

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
_KINDS: dict[str, type[BaseEntry]] = {
    "train": Train,
    "import": Import,
    "distill": Distill,
    "prune": Prune,
    "fold": Fold,
    "factorize": Factorize,
    "quantize": Quantize,
    "share": Share,
    "baseline": Baseline,
}


def read_params(folder: Path) -> Params:
    """Read and check `params.yaml` in `folder`.

    Raises:
        BadInput: If it is missing, no YAML, or has a wrong, missing or unknown key; one sentence
            names the first.
    """
    content, text = read_content(folder)
    with naming(PARAMS):
        return check(content, text)


def read_content(folder: Path) -> tuple[Any, str]:
    """The unchecked content of `params.yaml` in `folder`, and the file as text.

    Raises:
        BadInput: if it is missing or no YAML.
    """
    return read_yaml(folder / PARAMS)


def check(content: Any, text: str = "") -> Params:
    """Turn the content of `params.yaml` into checked, frozen values.

    Args:
        content: content of the file.
        text: the file as it was read, to name the lines of errors.

    Raises:
        BadInput: if a key is invalid; one sentence names the first.
    """
    try:
        params = Params.model_validate(content)
        for entry in params.models.values():
            for keys in entry.all_recipe_keys:
                params.recipe(keys)
        params.recipe(params.teacher.recipe_keys)
    except ValidationError as error:
        raise BadInput(sentence(error, _KINDS, text)) from None
    _check_tree(params)
    return params


def _check_tree(params: Params) -> None:
    """Refuse names, parents and teachers that do not make a tree, and functions that may not run.

    Raises:
        BadInput: with the first problem.
    """
    for name, entry in params.models.items():
        if len(name) > _LONGEST_NAME:
            raise BadInput(
                f"Expected a model's name in {PARAMS} to have at most {_LONGEST_NAME} characters; found "
                f"{len(name)}: {name[:40]!r} ..."
            )
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
    _check_trusted(params)
    _check_epochs(params)
    refuse_useless_processes({TEACHER: params.teacher, **params.models}, params.recipe)
    lost = sorted(set(params.models) - set(params.names))
    if lost:
        raise BadInput(
            "Expected every model to descend from the teacher; found a circle through "
            f"{', '.join(lost)}."
        )
    for name in params.models:
        _check_ancestors(params, name)
    queues_of_stages(params.fleet, params.names)


def _check_epochs(params: Params) -> None:
    """Refuse new networks that stay with their random weights.

    Raises:
        BadInput: if there is one.
    """
    for name in params.names:
        entry = params.entry(name)
        is_new = entry.factory is not None and not getattr(entry, "own_weights", False)
        if is_new and params.recipe(entry.recipe_keys).epochs == 0:
            raise BadInput(
                f"Expected `epochs` of {name} or of `training` above 0, because the weights of a new "
                "network are random; found 0. Trained weights come with `by: import`."
            )


def _check_ancestors(params: Params, name: str) -> None:
    """Refuse teachers that are no ancestors, and classes of a model that has those of an ancestor.

    Raises:
        BadInput: if there is one.
    """
    entry, known = params.models[name], params.ancestors(name)
    narrowed = [one for one in known if params.entry(one).concepts is not None]
    if entry.concepts is not None and narrowed:
        raise BadInput(
            f"Expected models.{name}.from to name a model that answers all classes, because "
            f"{name!r} has `classes`; found {entry.parent!r}, which answers those of "
            f"{narrowed[0]!r}."
        )
    for teacher in entry.chosen_teachers:
        if teacher not in known:  # DVC would not make it first
            raise BadInput(
                f"Expected models.{name}.teachers to be models that {name!r} descends from: "
                f"{', '.join(known)}; "
                f"found {teacher!r}."
            )


def _check_trusted(params: Params) -> None:
    """Refuse functions of packages whose code may not run here.

    Raises:
        BadInput: if a package is not under `trusted`.
    """
    for package in params.trusted:
        refuse_library(package)
    places = {f"models.{name}": entry.own_functions for name, entry in params.models.items()}
    if params.data.arrays is not None:
        places["data.arrays"] = (params.data.arrays,)
    for name, functions in places.items():
        for place in functions:
            try:
                refuse_untrusted(place, params.trusted)
            except BadInput as error:
                raise BadInput(f"{name}: {error}") from None

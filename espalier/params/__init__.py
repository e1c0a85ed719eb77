"""The schema of `params.yaml`: parsed once, here, into frozen values; unknown keys are refused by name.

Each kind of entry has a module of its own in this package.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator

from espalier.errors import BadInput
from espalier.params.distill import Distill, Recovered, Soft, Taught
from espalier.params.entry import BaseEntry, ChildEntry
from espalier.params.factorize import Factorize
from espalier.params.fleet import queues_of_stages
from espalier.params.fold import Fold
from espalier.params.imported import Import, Imported, ImportedTeacher
from espalier.params.prune import Prune
from espalier.params.quantize import Quantize
from espalier.params.sentences import sentence
from espalier.params.share import Share
from espalier.params.strict import RECIPE_KEYS, Strict
from espalier.params.train import Teacher, Train
from espalier.params.tree import check_tree
from espalier.paths import PARAMS, TEACHER
from espalier.reading import naming
from espalier.settings.data import DataSettings
from espalier.settings.limits import RUN_BYTES, RUN_SECONDS
from espalier.settings.names import name_problem
from espalier.training.recipe import Recipe
from espalier.yaml_files import read_yaml

__all__ = [
    "BaseEntry",
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

Entry = Annotated[
    Train | Import | Distill | Prune | Fold | Factorize | Quantize | Share,
    Field(discriminator="by"),
]


def _trained_by_default(given: Any) -> Any:
    return {"by": "train", **given} if isinstance(given, dict) else given


Root = Annotated[
    Annotated[Teacher | ImportedTeacher, Field(discriminator="by")],
    BeforeValidator(_trained_by_default),
]


class Evaluation(Strict):
    """Evaluation of all models.

    Attributes:
        rounds: number of timed calls of each model at batch 64; ten times as many at batch 1.
        runtime: program that executes the deployed files, one of `espalier.runtimes.RUNTIMES`.
        threads: number of threads of the runtime.
        batch_size: examples per call when outputs are computed.
        surrogate_depth: largest depth of the decision trees that are fitted to the answers of each
            network for the report; 0 for none.
        run_memory: bytes of memory that a deployed file of any size may take for a batch, in a process
            of its own; large files and inputs may take more.
        run_seconds: largest time in which a deployed file computes a batch there.
    """

    rounds: int = Field(60, ge=3)
    runtime: Literal["onnxruntime"] = "onnxruntime"
    threads: int = Field(1, ge=1)
    batch_size: int = Field(256, ge=1)
    surrogate_depth: int = Field(0, ge=0, le=12)
    run_memory: int = Field(RUN_BYTES, ge=1)
    run_seconds: float = Field(RUN_SECONDS, gt=0)


_WEBHOOK = r"(https?://.+|env:[A-Za-z_][A-Za-z0-9_]*)?"


class Registry(Strict):
    """The registered model in MLflow.

    Attributes:
        name: name of the registered model; all versions belong to it.
        promote: whether a run ends with `espalier promote`, which moves the champion if the gates
            pass.
        webhook: URL that receives a JSON message after each move of an alias and each failed run;
            `env:NAME` takes it from an environment variable, so that no token is in the repository.
    """

    name: str = "digits"
    promote: bool = False
    webhook: str = ""

    @field_validator("webhook")
    @classmethod
    def _is_an_address(cls, webhook: str) -> str:
        if not re.fullmatch(_WEBHOOK, webhook):
            # the value may hold a token, so the message does not repeat it
            raise ValueError(
                "Expected `registry.webhook` to be an http or https address, or `env:NAME` for one in an "
                "environment variable; found another text."
            )
        return webhook

    @field_validator("name")
    @classmethod
    def _can_be_registered(cls, name: str) -> str:
        problem = name_problem(name)
        if problem:
            expected, found = problem
            raise ValueError(f"Expected `registry.name` {expected}; found {found}.")
        return name


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
    check_tree(params)
    return params

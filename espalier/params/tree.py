"""The tree of entries: names, parents, teachers, and packages whose code may run."""

import re
from typing import Any, Protocol

from espalier.errors import BadInput
from espalier.own_functions import refuse_library, refuse_untrusted
from espalier.params.entry import BaseEntry
from espalier.params.fleet import queues_of_stages
from espalier.params.processes import refuse_useless_processes
from espalier.paths import PARAMS, TEACHER
from espalier.settings.data import DataSettings
from espalier.training.recipe import Recipe


class Tree(Protocol):
    """The part of `params.yaml` that is checked here."""

    @property
    def trusted(self) -> tuple[str, ...]:
        """Packages whose functions may run."""

    @property
    def teacher(self) -> BaseEntry:
        """The entry of the teacher."""

    @property
    def models(self) -> dict[str, Any]:
        """The entries under `models`."""

    @property
    def data(self) -> DataSettings:
        """Settings of the data."""

    @property
    def fleet(self) -> dict[str, tuple[str, ...]]:
        """The stages of each work queue."""

    @property
    def names(self) -> tuple[str, ...]:
        """All models, parents before children."""

    def ancestors(self, name: str) -> tuple[str, ...]:
        """The ancestors of a model, from its parent to the teacher."""

    def entry(self, name: str) -> Any:
        """The entry of a name."""

    def recipe(self, overrides: dict[str, Any]) -> Recipe:
        """The training defaults with the keys of one entry."""


_RESERVED = (
    TEACHER,
    "latest",
    "champion",
    "previous",
)  # names of aliases in the registry
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LONGEST_NAME = 100  # disks hold names of 255 bytes; drafts and locks add up to 50


def check_tree(params: Tree) -> None:
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


def _check_ancestors(params: Tree, name: str) -> None:
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


def _check_trusted(params: Tree) -> None:
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

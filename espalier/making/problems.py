"""Problems that a run would refuse, found before it starts."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from espalier.dvc_record import refuse_conflicts
from espalier.errors import BadInput
from espalier.gates import check_names, read_policies
from espalier.making.stage_dependencies import refuse_missing_sections, refuse_unknown_to_dvc
from espalier.own_functions import own_function
from espalier.params import BaseEntry, Params, Taught, read_params
from espalier.params.losses import OutputLoss
from espalier.paths import GATES, TEACHER


def find_problems(root: Path, *, factories: bool = True) -> list[str]:
    """Check everything that can be checked without data: a sentence for each problem.

    `params.yaml` and the gates, the factories of all networks, functions of the user's packages, files
    of weights, and whether DVC knows them.

    Args:
        root: folder of the project.
        factories: whether to look for the factories too, for which torch is imported.
    """
    try:
        params = read_params(root)
    except BadInput as error:
        return [str(error)]
    found = []
    for check in _checks(root, params, factories=factories):
        try:
            check()
        except BadInput as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def _checks(root: Path, params: Params, *, factories: bool) -> Iterator[Callable[[], object]]:
    yield partial(refuse_conflicts, root)
    yield partial(refuse_missing_sections, root)
    if params.registry.promote:
        yield partial(_check_policies, root, params)
    if params.data.arrays is not None:
        yield partial(_check_function, "data.arrays", params.data.arrays)
    entries: dict[str, BaseEntry] = {TEACHER: params.teacher, **params.models}
    for name, entry in entries.items():
        if factories and entry.factory is not None:
            yield partial(_check_factory, name, entry.factory, params)
        for place in entry.own_functions:
            yield partial(_check_function, name, place)
        for file in entry.own_files:
            yield partial(_check_file, root, name, file)
        yield partial(refuse_unknown_to_dvc, root, name, entry.own_files)
        if isinstance(entry, Taught):
            yield partial(_check_heads, name, entry, params)


def _check_policies(root: Path, params: Params) -> None:
    check_names(read_policies(root / GATES), params.names)


def _check_factory(name: str, factory: str, params: Params) -> None:
    # here: torch, which takes seconds
    from espalier.models.build import find_factory

    try:
        find_factory(factory, params.trusted)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None


def _check_heads(name: str, entry: Taught, params: Params) -> None:
    heads = params.data.heads
    for loss in entry.terms:
        head = loss.head if isinstance(loss, OutputLoss) else None
        if head is not None and head not in heads:
            known = ", ".join(heads) or "absent, since `data.heads` names none"
            raise BadInput(f"{name}: Expected `head` of {loss.loss} to be {known}; found {head!r}.")


def _check_function(name: str, place: str) -> None:
    try:
        own_function(place)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None


def _check_file(root: Path, name: str, file: str) -> None:
    if not (root / file).is_file():
        raise BadInput(f"{name}: Expected {root / file} to be a file of weights; found none.")

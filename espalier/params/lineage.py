"""The inputs of a model that `params.yaml` fixes, and their comparison with the lineage in its folder.

Nothing here needs torch, so that a registration can compare all models in milliseconds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from espalier import files
from espalier.errors import BadInput
from espalier.paths import (
    ARCHITECTURE,
    DATASET,
    LINEAGE,
    MANIFEST,
    MODELS,
    PARAMS,
    PREPARED,
    WEIGHTS,
)
from espalier.records import LineageRecord, read_record
from espalier.training.recipe import Recipe

if TYPE_CHECKING:
    from espalier.params import Params

# defaults of keys of entries that earlier versions did not have
_NEWER: tuple[tuple[str, Any], ...] = (
    ("seeds", 1),
    ("compare", "outputs"),
    ("portions", []),
    ("classes", None),
    ("processes", 1),
)
_REPAIR = "run `dvc repro`, or `espalier make {name}` where DVC takes it for up to date"
_SHORT = 12  # digits of a hash that are shown


class Difference(NamedTuple):
    """An input that differs from the recorded one.

    Attributes:
        key: key of `params.yaml`, or the name of a parent or of the prepared data.
        declared: value now.
        found: value that the model was made from; None if it records none.
        source: place of the value now.
    """

    key: str
    declared: Any
    found: Any
    source: str = PARAMS

    def __str__(self) -> str:
        """The difference for a sentence that begins with `Expected NAME to be made`."""
        return f"with `{self.key}: {_text(self.declared)}`, as {self.source} says; found {_text(self.found)}"


def declared_inputs(params: "Params", name: str) -> dict[str, Any]:
    """The inputs of a model that `params.yaml` alone fixes, as its lineage records them.

    Newer keys at their defaults are left out of `entry`, as before there were these keys, and
    `classes` where the model answers all classes of the data.
    """
    entry, concepts = params.entry(name), params.concepts(name)
    content = entry.model_dump(mode="json", by_alias=True)
    return {
        "entry": {key: value for key, value in content.items() if (key, value) not in _NEWER},
        "recipe": asdict(params.recipe(entry.recipe_keys)),
        "seed": params.seed,
        **({} if concepts is None else {"classes": concepts}),
    }


def identity_of(weights: str, preprocessing: Any, concepts: Any) -> str:
    """Hash of all of a model that the results of its children depend on.

    Args:
        weights: SHA-256 of its weights.
        preprocessing: preprocessing that the network brings along; None for that of the data.
        concepts: names of the classes of its outputs; None for all classes.
    """
    further = {"preprocessing": preprocessing, "concepts": concepts}
    own = {key: value for key, value in further.items() if value is not None}
    return files.digest({"weights": weights, **own}) if own else weights


def refuse_stale(root: Path, params: "Params", *, data: bool = True) -> None:
    """Refuse models that were made from other inputs than `params.yaml` and the folders have now.

    The entry, the recipe, the seed, the classes, the parents and the prepared data are compared. The
    device, versions, code and files of the user are not: DVC does not make a model again for those.
    A lineage without one of these sections, or a folder without lineage, is not compared in it.

    Args:
        root: the project; the hashes of its model folders are checked elsewhere.
        params: content of `params.yaml`.
        data: whether to compare the data.

    Raises:
        BadInput: if there is one; the message has the first difference, and all their names.
    """
    stale = {}
    for name in params.names:
        difference = next(_differences(root, params, name, data=data), None)
        if difference is not None:
            stale[name] = difference
    if stale:
        name, difference = next(iter(stale.items()))
        others = ", ".join(list(stale)[1:])
        more = f"; other inputs were found for {others}, too" if others else ""
        raise BadInput(
            f"Expected {name} to be made {difference} in {root / MODELS / name / LINEAGE}{more}: "
            f"{_REPAIR.format(name=name)}."
        )


def _differences(root: Path, params: "Params", name: str, *, data: bool) -> Iterator[Difference]:
    """The inputs that differ, those of the training first."""
    path = root / MODELS / name / LINEAGE
    if not path.is_file():
        return
    recorded, entry = read_record(path, LineageRecord), params.entry(name)
    if "recipe" in recorded:
        recipe = asdict(params.recipe(entry.recipe_keys))
        yield from _changed(recipe, recipe, {**asdict(Recipe()), **recorded["recipe"]})
    if "seed" in recorded:
        yield from _changed({"seed": params.seed}, {}, {"seed": recorded["seed"]})
    if "entry" in recorded:
        whole = entry.model_dump(mode="json", by_alias=True)
        given = entry.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        yield from _changed(whole, given, recorded["entry"])
    yield from _changed_parents(root, recorded.get("models", {}), recorded.get("architectures", {}))
    if data:
        yield from _changed_data(root, recorded.get("data"))


def _changed(whole: Any, given: Any, former: Any) -> Iterator[Difference]:
    """The keys whose values differ.

    A key that the record lacks counts if its value now is no default: an earlier version had no such
    key, and worked as the default does.

    Args:
        whole: all values now.
        given: the values now that are no defaults.
        former: the recorded values.
    """
    now, chosen, before = _flat(whole), _flat(given), _flat(former)
    for key in {**now, **before}:
        differs = now.get(key) != before[key] if key in before else key in chosen
        if differs:
            yield Difference(key.removeprefix("overrides."), now.get(key), before.get(key))


def _changed_parents(
    root: Path, recorded: Mapping[str, str], architectures: Mapping[str, str]
) -> Iterator[Difference]:
    """The parents that are other models now; of absent ones nothing is known."""
    for parent, former in recorded.items():
        folder = root / MODELS / parent
        if not (folder / MANIFEST).is_file():
            continue
        hashes = {name: one["sha256"] for name, one in files.read_manifest(folder).items()}
        network = hashes.get(ARCHITECTURE, "")
        if network != architectures.get(parent, network):
            yield Difference(
                parent, network[:_SHORT], architectures[parent][:_SHORT], f"{MODELS}/{parent}"
            )
        weights = hashes.get(WEIGHTS, "")
        content = files.read_json_object(folder / ARCHITECTURE)
        now = identity_of(weights, content.get("preprocessing"), content.get("concepts"))
        if now != former:
            yield Difference(parent, now[:_SHORT], former[:_SHORT], f"{MODELS}/{parent}")


def _changed_data(root: Path, recorded: Any) -> Iterator[Difference]:
    """The prepared data if they are others now; without prepared data nothing is known."""
    path = root / PREPARED / DATASET
    if recorded is None or not path.is_file():
        return
    now = files.sha256(path)
    if now != recorded:
        yield Difference("data", now[:_SHORT], str(recorded)[:_SHORT], PREPARED)


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """The values of nested mappings and lists, by keys such as `losses.0.weight`."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and value:
        items = enumerate(value)
    else:
        return {key: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
    for name, item in items:
        flat |= _flat(item, f"{key}.{name}" if key else str(name))
    return flat


def _text(value: Any) -> str:
    """A value as `params.yaml` has it."""
    return value if isinstance(value, str) else json.dumps(value)

"""Dependencies that DVC has to know: files that models are made from, and sections of parameters."""

from pathlib import Path, PurePosixPath
from typing import Any

from espalier.dvc_record import GRAPH, RECORD
from espalier.errors import BadInput
from espalier.paths import PARAMS, TEACHER
from espalier.yaml_files import read_yaml

_EMPTY = {"seed": "0", "trusted": "[]"}  # what stands for a section that changes nothing
_TEMPLATES = ("${teacher.weights}", "${item.weights}")


def refuse_unknown_to_dvc(root: Path, name: str, own_files: tuple[str, ...]) -> None:
    """Refuse a model whose stage in `dvc.yaml` does not depend on all files that it is made from.

    DVC would take the model for up to date after such a file has changed.

    Args:
        root: folder of the project; without `dvc.yaml` there is nothing to check.
        name: name of the entry.
        own_files: files of the entry, relative to the project.

    Raises:
        BadInput: if a file is missing among the dependencies; the message has the line to add.
    """
    missing = unknown_to_dvc(root, name, own_files)
    if not missing:
        return
    path, file = root / GRAPH, missing[0]
    stage, place = _stage(path, name)
    known = ", ".join(map(str, _listed(path, stage, "deps"))) or "nothing"
    raise BadInput(
        f"Expected {place}.deps of {path} to have {file!r}, so that DVC sees when it changes; found "
        f"{known}. Add the line `- {file}` there."
    )


def unknown_to_dvc(root: Path, name: str, own_files: tuple[str, ...]) -> list[str]:
    """The files of an entry that its stage in `dvc.yaml` does not depend on, as a file or in a folder."""
    path = root / GRAPH
    if not own_files or not path.is_file():
        return []
    stage, _ = _stage(path, name)
    known = [one for one in _listed(path, stage, "deps") if isinstance(one, str)]
    return [
        file
        for file in own_files
        if not any(one in _TEMPLATES or _covers(one, file) for one in known)
    ]


def recorded_outputs(root: Path) -> dict[str, str]:
    """DVC's hashes of the outputs that it has recorded, and so keeps in its cache, by their paths.

    Args:
        root: folder of the project; without `dvc.lock` there are none.
    """
    path = root / RECORD
    if not path.is_file():
        return {}
    outs = [one for stage in _stages(path).values() for one in _listed(path, stage, "outs")]
    found = [one for one in outs if isinstance(one, dict) and isinstance(one.get("path"), str)]
    return {one["path"]: str(one.get("md5", "")) for one in found}


def refuse_missing_sections(root: Path) -> None:
    """Refuse a `params.yaml` without a section that a stage of `dvc.yaml` depends on: DVC would fail.

    Raises:
        BadInput: if one is missing; the message has the lines to add.
    """
    path = root / GRAPH
    if not path.is_file():
        return
    present, _ = read_yaml(root / PARAMS)
    stages = _stages(path)
    wanted: dict[str, None] = {}
    for stage in stages.values():
        own = stage.get("do", stage)
        named = [one for one in _listed(path, own, "params") if isinstance(one, str)]
        wanted |= dict.fromkeys(one.partition(".")[0] for one in named)
    missing = [name for name in wanted if name not in present]
    if missing:
        lines = ", ".join(f"`{name}: {_EMPTY.get(name, '{}')}`" for name in missing)
        raise BadInput(
            f"Expected {root / PARAMS} to have every section that stages of {GRAPH} depend on; found "
            f"no {', '.join(missing)}: add {lines}."
        )


def _stage(path: Path, name: str) -> tuple[dict[str, Any], str]:
    """The stage of an entry, and its place in the file."""
    stages = _stages(path)
    if name in stages or name == TEACHER:
        return stages.get(name, {}), f"stages.{name}"
    own = stages.get("model", {}).get("do", {})
    return own if isinstance(own, dict) else {}, "stages.model.do"


def _listed(path: Path, stage: Any, key: str) -> list[Any]:
    """The values of a list in a stage; empty without the key.

    Raises:
        BadInput: if there is another value.
    """
    found = stage.get(key, []) if isinstance(stage, dict) else stage
    if not isinstance(found, list):
        raise BadInput(f"Expected a list as `{key}` of each stage in {path}; found {found!r:.80}.")
    return found


def _stages(path: Path) -> dict[str, Any]:
    """The stages of `dvc.yaml` or `dvc.lock`, by name.

    Raises:
        BadInput: if they are no mapping of mappings.
    """
    content, _ = read_yaml(path)
    stages = content.get("stages", {}) if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(one, dict) for one in stages.values()):
        raise BadInput(f"Expected {path} to have a mapping of stages; found another value.")
    return stages


def _covers(dependency: str, file: str) -> bool:
    """Whether a dependency is a file, or a folder that it lies in."""
    known, path = PurePosixPath(dependency), PurePosixPath(file)
    return known == path or known in path.parents

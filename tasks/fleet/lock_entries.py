"""Entries of `dvc.lock`, the only thing that a run and its workers exchange about results.

A worker gets the entries of the stages whose outputs it needs, and returns the entry of the stage that it
has made. Only the run writes them to the project's `dvc.lock`.
"""

import json
from pathlib import Path
from typing import Any

from espalier.dvc_record import RECORD
from espalier.errors import EspalierError
from espalier.files import digest
from espalier.tasks.dvc_repo import locked_repo
from espalier.tasks.graph import overlap
from espalier.waiting import Reminder
from espalier.yaml_files import read_yaml

_Entry = dict[str, Any]


def describe(root: Path, name: str, reminder: Reminder) -> tuple[str, dict[str, _Entry]]:
    """The key of a stage, and the entries of the stages whose outputs it reads.

    The key is equal in all clones of a project where the stage has the same inputs, although its
    dependencies may be missing there. It takes hashes of outputs from `dvc.lock` and hashes only files that
    no stage makes.

    Args:
        root: root folder of the project.
        name: address of the stage.
        reminder: receives a sentence while another command is waited for.
    """
    with locked_repo(root, reminder) as repo:
        stage = repo.stage.load_one(str(root / "dvc.yaml"), name)
        inputs: dict[str, Any] = {"stage": name, "command": stage.cmd}
        needed: set[str] = set()
        for dependency in stage.deps:
            if hasattr(dependency, "params"):
                inputs[f"params {dependency.def_path}"] = dependency.read_params()
                continue
            producers = _producers(repo, dependency)
            needed |= {one.stage.name for one in producers if not one.stage.is_data_source}
            inputs[dependency.def_path] = {
                out.def_path: out.hash_info.value for out in producers
            } or dependency.get_hash().value
    recorded = read_entries(root)
    missing = sorted(needed - recorded.keys())
    if missing:
        raise EspalierError(
            f"{name}: Expected {RECORD} to record {', '.join(missing)}; found no entry."
        )
    key = digest(json.loads(json.dumps(inputs, default=str)))
    return key, {one: recorded[one] for one in sorted(needed)}


def _producers(repo: Any, dependency: Any) -> list[Any]:
    """The outputs that a dependency overlaps."""
    path = Path(dependency.fs_path)
    outs = [out for stage in repo.index.stages for out in stage.outs]
    found = [out for out in outs if overlap(Path(out.fs_path), path)]
    return sorted(found, key=lambda out: str(out.def_path))


def read_entries(root: Path) -> dict[str, _Entry]:
    """The entries of all stages that `dvc.lock` records, by their names."""
    path = root / RECORD
    if not path.is_file():
        return {}
    entries: dict[str, _Entry] = read_yaml(path)[0]["stages"]
    return entries


def write_entries(root: Path, entries: dict[str, _Entry]) -> None:
    """Replace `dvc.lock` in a worker's clone by these entries.

    DVC's own writer is used: DVC keeps the style of the file, and writes text with a colon without quotes into
    mappings in braces, which nothing can read.
    """
    from dvc.utils.serialize import dump_yaml  # here: importing DVC takes 0.3 s

    dump_yaml(str(root / RECORD), {"schema": "2.0", "stages": entries})


def record_entry(root: Path, name: str, entry: _Entry, reminder: Reminder) -> None:
    """Record in `dvc.lock` a stage that a worker has made.

    Outputs of an earlier version are removed here, because they are not those of the entry; the new ones
    come when something here needs them.

    Args:
        root: root folder of the project.
        name: address of the stage.
        entry: its entry.
        reminder: receives a sentence while another command is waited for.
    """
    from dvc.stage.loader import StageLoader  # here: importing DVC takes 0.3 s

    with locked_repo(root, reminder) as repo:
        stage = repo.stage.load_one(str(root / "dvc.yaml"), name)
        StageLoader.fill_from_lock(stage, entry)
        if any(out.workspace_status() for out in stage.outs):
            stage.remove_outs(force=True)
        stage.dump(update_pipeline=False)

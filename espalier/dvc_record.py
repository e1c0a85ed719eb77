"""A copy of `dvc.lock`, DVC's record of what it has made.

DVC writes the file in place. If it is killed there, the record is empty or cut off, and DVC refuses the
project from then on. The copy lacks at most the last stage, whose result is in DVC's cache of runs.

A record in which git has left both sides of a merge is as unreadable, and not damaged: only the user knows the
side to keep.
"""

import os
from pathlib import Path
from typing import Any

from espalier import files
from espalier.errors import BadInput
from espalier.paths import STATE
from espalier.yaml_files import read_merged, read_yaml

GRAPH = "dvc.yaml"
RECORD = "dvc.lock"
_HASHES = ("md5", "etag", "checksum", "repo")  # of a file of this machine, and of others
_COPY = Path(STATE, "kept", RECORD)
DAMAGED = Path(STATE, "kept", f"{RECORD}.damaged")  # the last record that was replaced by its copy
_EXPERIMENT = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")  # set by DVC for the stages of experiments
_STAGE = "DVC_STAGE"  # set by DVC for the commands of stages; while one runs, no record is written


def is_run_by_dvc() -> bool:
    """Whether DVC runs this process as a stage."""
    return _STAGE in os.environ


def is_experiment() -> bool:
    """Whether DVC runs this process as a part of an experiment."""
    return any(name in os.environ for name in _EXPERIMENT)


def keep_record(root: Path) -> None:
    """Copy the record, in a stage that DVC runs, if it is whole."""
    if is_run_by_dvc() and (root / RECORD).is_file() and is_whole(root / RECORD):
        files.write(root / _COPY, (root / RECORD).read_bytes())


def refuse_conflicts(root: Path) -> None:
    """Refuse a project whose files of DVC hold both sides of a merge.

    Raises:
        BadInput: if one does; the message has the file, the line and the way on.
    """
    for path in (root / GRAPH, root / RECORD, *sorted(root.glob("*.dvc"))):
        if path.is_file():  # the folder .dvc is none
            read_merged(path)


def is_damaged(root: Path) -> bool:
    """Whether there is a record that was cut off.

    Raises:
        BadInput: if it holds both sides of a merge, which a copy must not replace.
    """
    path = root / RECORD
    if not path.is_file():
        return False
    read_merged(path)
    return not is_whole(path)


def restore_record(root: Path) -> None:
    """Replace a damaged record by its copy, or remove it: DVC's cache of runs still has all results.

    The damaged one is moved to `DAMAGED`, because a user may have edited it.
    """
    files.write(root / DAMAGED, (root / RECORD).read_bytes())
    if (root / _COPY).is_file():
        files.write(root / RECORD, (root / _COPY).read_bytes())
    else:
        (root / RECORD).unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Whether a record is complete YAML, and has a path and a hash for each file of each stage.

    Files outside of the file system, such as those of HTTP or S3, have hashes of their servers.
    """
    try:
        content = read_yaml(path)[0]
    except BadInput:
        return False
    stages = content.get("stages") if isinstance(content, dict) and "schema" in content else None
    return isinstance(stages, dict) and all(map(_is_stage, stages.values()))


def _is_stage(stage: Any) -> bool:
    if not isinstance(stage, dict) or "cmd" not in stage:
        return False
    named = [*(stage.get("deps") or []), *(stage.get("outs") or [])]
    return all(isinstance(one, dict) and one.get("path") and _has_hash(one) for one in named)


def _has_hash(file: dict[str, Any]) -> bool:
    return any(file.get(name) for name in _HASHES)

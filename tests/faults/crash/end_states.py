"""The state in which a project must end, however its runs were disturbed."""

import json
import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from faults.crash import registry_state, tree

from espalier.locks import is_locked
from espalier.making.stage_dependencies import recorded_outputs
from espalier.tasks.slots import find_slots

_RUNNING = ("RUNNING", "PENDING", "SCHEDULED", "CANCELLING")


@cache
def names_of(root: Path) -> list[str]:
    """The models that `params.yaml` declares."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    return ["teacher", *params["models"]]


def differences(root: Path, undisturbed: Path) -> list[str]:
    """Sentences on the artefacts, DVC's record, the registry and its audit that are not those of another project."""
    names = names_of(root)
    stages = ("prepare", *(f"make@{name}" for name in names), "evaluate")
    bits = [name for stage in stages for name in tree.differences(stage, root, undisturbed)]
    recorded = recorded_outputs(root)
    return [
        *(f"other bits: {name}" for name in bits),
        *(f"{name} is not recorded" for name in names if f"models/{name}" not in recorded),
        *registry_differences(registry_state.read(root), registry_state.read(undisturbed)),
        *_open_flows(root),
        *_held_slots(root),
    ]


def registry_differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Doubled and missing versions, absent aliases, open moves, and alterations of the audit."""
    problems = list(found["audit"])
    if found["versions"] != expected["versions"]:
        problems.append(f"versions {found['versions']}, expected {expected['versions']}")
    if by_alias(found) != by_alias(expected):
        problems.append(f"aliases {by_alias(found)}, expected {by_alias(expected)}")
    if "open" in found["moves"] or found["moves"].count("done") != expected["moves"].count("done"):
        problems.append(f"moves {found['moves']}, expected {expected['moves']}")
    return problems


def by_alias(registry: dict[str, Any]) -> dict[str, str]:
    """The content hash of each alias: versions of a disturbed project may have other numbers."""
    return {alias: registry["content"][version] for alias, version in registry["aliases"].items()}


def finished_models(root: Path) -> dict[str, float]:
    """When each complete model was trained: another training has another time."""
    found = {}
    for name in names_of(root):
        for folder in (root / ".espalier" / "kept" / "models" / name, root / "models" / name):
            # a stage may be replacing the folder
            with suppress(FileNotFoundError):
                (folder / "manifest.json").stat()
                found[name] = json.loads((folder / "lineage.json").read_text())["finished"]
    return found


def _open_flows(root: Path) -> list[str]:
    """Flow runs of the project's own Prefect server that are not marked as ended."""
    database = root / ".espalier" / "prefect" / "prefect.db"
    if not database.exists():  # another server keeps them
        return []
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT name, state_type FROM flow_run").fetchall()
    return [f"flow run {name} is {state}" for name, state in rows if state in _RUNNING]


def _held_slots(root: Path) -> list[str]:
    folder = root / ".espalier" / "slots"
    return [f"{slot.path.name} is held" for slot in find_slots(folder, 1) if is_locked(slot.path)]

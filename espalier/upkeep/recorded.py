"""The outputs that DVC has recorded in `dvc.lock` and in `.dvc` files."""

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from espalier.dvc_record import RECORD
from espalier.yaml_files import read_yaml


@dataclass(frozen=True)
class Output:
    """A recorded output.

    Attributes:
        target: its stage, or the `.dvc` file that tracks it.
        path: its path, relative to the project.
        md5: MD5 of its content; for a folder that of its listing, with the ending `.dir`.
        command: the command that makes it; empty for data of the user.
    """

    target: str
    path: str
    md5: str
    command: str = ""


def read_outputs(root: Path) -> tuple[Output, ...]:
    """All outputs, in topological order.

    Args:
        root: the project.
    """
    found = [
        Output(path.name, str(out["path"]), str(out["md5"]))
        for path in sorted(root.glob("*.dvc"))
        if path.is_file()
        for out in read_yaml(path)[0].get("outs", [])
        if "md5" in out
    ]
    return (*found, *_of_stages(root / RECORD))


def _of_stages(path: Path) -> list[Output]:
    stages = read_yaml(path)[0].get("stages", {}) if path.is_file() else {}
    found = []
    for name in _ordered(stages):
        command = stages[name].get("cmd", "")
        words = command if isinstance(command, str) else "\n".join(command)
        found += [
            Output(name, str(out["path"]), str(out["md5"]), words)
            for out in stages[name].get("outs", [])
            if "md5" in out
        ]
    return found


def _ordered(stages: dict[str, Any]) -> list[str]:
    """The names of stages, each after those whose outputs it reads."""
    writers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    needs = {
        name: [
            writer
            for dependency in stage.get("deps", [])
            for path, writer in writers.items()
            if _overlap(Path(dependency["path"]), Path(path)) and writer != name
        ]
        for name, stage in stages.items()
    }
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError:  # of stages that were renamed since
        return list(stages)


def _overlap(path: Path, other: Path) -> bool:
    return path.is_relative_to(other) or other.is_relative_to(path)

"""The graph of stages, as DVC reads it from `dvc.yaml`, and what of it is out of date. It is written nowhere else."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from espalier.errors import BadInput, TryAgain


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: As DVC addresses it: `prepare`, `teacher`, `model@student-p50`.
        command: What it runs.
        needs: The stages that must be done before it.
        stale: Whether it has to run: something it depends on or made has changed, or will be made anew before it.
        forced: Whether it has to run although nothing changed.
        frozen: Whether DVC was told never to reproduce it for the sake of its dependencies.
    """

    name: str
    command: str = ""
    needs: tuple[str, ...] = ()
    stale: bool = True
    forced: bool = False
    frozen: bool = False

    @property
    def label(self) -> str:
        """The name of the model that it makes (`student-p50`), or its own."""
        return self.name.rpartition("@")[2]

    @property
    def kind(self) -> str:
        """The name of its entry in `dvc.yaml`: `model` for every compressed model."""
        return self.name.partition("@")[0]


@dataclass(frozen=True)
class Graph:
    """What DVC knows: the stages, each after those it needs, and the data that do not match their `.dvc` file."""

    stages: tuple[Stage, ...]
    missing_data: tuple[str, ...] = ()

    @property
    def stale(self) -> tuple[Stage, ...]:
        """The stages that have to run."""
        return tuple(stage for stage in self.stages if stage.stale)

    def unchanged(self, name: str) -> bool:
        """Whether there is a stage of that name, and it has not to run."""
        return any(stage.name == name and not stage.stale for stage in self.stages)


def read_graph(root: Path, force: Collection[str] = ()) -> Graph:
    """Ask DVC for the graph of the project at `root`, and for what is out of date.

    Args:
        root: The project.
        force: Names or labels of stages that shall run although nothing changed.

    Raises:
        BadInput: If DVC finds the project not in order, or `force` names no stage.
        TryAgain: If another DVC command does not let go of the project.
    """
    from dvc.exceptions import DvcException  # here: 0.3 s that `--help` does not pay
    from dvc.lock import LockError

    try:
        graph = _ask(root)
    except LockError:
        raise TryAgain(
            f"DVC should be free to read {root}. Found another DVC command at work there."
        ) from None
    except DvcException as error:
        raise BadInput(
            f"DVC should be able to read {root}. Found: {' '.join(str(error).split())}"
        ) from None
    return replace(graph, stages=_propagate(_force(graph.stages, force)))


def _ask(root: Path) -> Graph:
    from dvc.repo import Repo, lock_repo
    from dvc.repo.reproduce import get_active_graph

    with Repo(str(root)) as repo, lock_repo(repo):
        graph = get_active_graph(repo.index.graph)
        ordered = list(
            TopologicalSorter(
                {stage: list(graph.successors(stage)) for stage in graph}
            ).static_order()
        )
        data = tuple(
            _address(stage, root) for stage in ordered if stage.is_data_source and _changed(stage)
        )
        stages = tuple(
            Stage(
                name=_address(stage, root),
                command=stage.cmd if isinstance(stage.cmd, str) else "\n".join(stage.cmd or ()),
                needs=tuple(
                    sorted(
                        _address(need, root)
                        for need in graph.successors(stage)
                        if not need.is_data_source
                    )
                ),
                stale=_changed(stage),
                frozen=stage.frozen,
            )
            for stage in ordered
            if not stage.is_data_source
        )
    return Graph(stages, data)


def _address(stage: Any, root: Path) -> str:
    """As `stage.addressing`, but seen from the project's folder wherever the process is."""
    file = os.path.relpath(stage.path, root)
    if stage.is_data_source:
        return file
    return stage.name if file == "dvc.yaml" else f"{file}:{stage.name}"


def _changed(stage: Any) -> bool:
    from dvc.lock import LockError

    try:
        return bool(stage.changed())
    except (
        LockError
    ):  # another run is making it right now: whoever reproduces it waits for that, and looks again
        return True


def _force(stages: tuple[Stage, ...], force: Collection[str]) -> tuple[Stage, ...]:
    unknown = set(force) - {stage.name for stage in stages} - {stage.label for stage in stages}
    if unknown:
        known = ", ".join(stage.label for stage in stages)
        raise BadInput(f"A stage to force should be one of {known}. Found {min(unknown)!r}.")
    return tuple(
        replace(stage, stale=True, forced=True) if {stage.name, stage.label} & set(force) else stage
        for stage in stages
    )


def _propagate(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Stages come after those that they need, so one pass reaches every descendant."""
    stale: set[str] = set()
    spread = []
    for stage in stages:
        if stage.stale or (not stage.frozen and stale.intersection(stage.needs)):
            stale.add(stage.name)
        spread.append(replace(stage, stale=stage.name in stale))
    return tuple(spread)

"""The graph of stages as DVC reads it from `dvc.yaml`, and the stages that are out of date."""

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from espalier.errors import BadInput, reason_of
from espalier.paths import DATA, PARAMS
from espalier.tasks.dvc_repo import locked_repo
from espalier.waiting import Reminder


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: address in DVC: `prepare`, `teacher`, `model@student-p50`.
        command: command that it runs.
        needs: names of the stages that must be done before it.
        stale: whether it must run, because a dependency or an output has changed or will change.
        forced: whether it must run although nothing changed.
        frozen: whether it is frozen in DVC: changed dependencies do not make it run.
        reads: paths of its dependencies.
        writes: paths of its outputs.
        sources: outputs of other stages that its dependencies overlap.
    """

    name: str
    command: str = ""
    needs: tuple[str, ...] = ()
    stale: bool = True
    forced: bool = False
    frozen: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name of the model that it makes (`student-p50`), else its own name."""
        return self.name.rpartition("@")[2]

    @property
    def kind(self) -> str:
        """The name of its entry in `dvc.yaml`: `model` for every compressed model."""
        return self.name.partition("@")[0]


@dataclass(frozen=True)
class Graph:
    """The graph of a project.

    Attributes:
        stages: stages in topological order.
        missing_data: `.dvc` files whose data are missing or changed.
    """

    stages: tuple[Stage, ...]
    missing_data: tuple[str, ...] = ()

    @property
    def stale(self) -> tuple[Stage, ...]:
        """The stages that must run."""
        return tuple(stage for stage in self.stages if stage.stale)

    def unchanged(self, name: str) -> bool:
        """Whether there is a stage of that name that need not run."""
        return any(stage.name == name and not stage.stale for stage in self.stages)


def read_graph(
    root: Path,
    force: Collection[str] = (),
    report: Callable[[str], None] = lambda line: None,
    allow_missing: bool = False,
    mend: bool = True,
) -> Graph:
    """Read the graph of a project, and the stages that are out of date.

    DVC allows one command at a time to do so; this one waits for the others.

    Args:
        root: root folder of the project.
        force: names or labels of stages that must run although nothing changed.
        report: receives a sentence while another command is waited for.
        allow_missing: whether a recorded output may be missing here, because a worker has made it.
        mend: whether to replace a `dvc.lock` that was cut off by its copy.

    Raises:
        BadInput: if DVC cannot read the project or params.yaml is wrong, `force` names no stage, or a stage
            needs a file that is missing and that no stage makes.
    """
    from dvc.exceptions import DvcException  # here: importing DVC takes 0.3 s

    try:
        graph = _read(root, Reminder(report), allow_missing, mend=mend)
    except DvcException as error:
        from espalier.params import read_params  # here: importing pydantic takes 0.2 s

        if (root / PARAMS).is_file():
            read_params(root)  # dvc.yaml is filled from it, and its own sentence names the key
        raise BadInput(
            f"Expected a project in {root} that DVC can read; found: {reason_of(error)}. "
            "`git init` and `dvc init` start what is missing; `espalier init DIR` makes a new project."
        ) from None
    return replace(graph, stages=_propagate(_force(graph.stages, force)))


def load_stage(root: Path, name: str) -> Stage:
    """One stage of a project, to be made whether it is out of date or not."""
    from dvc.repo import Repo  # here: importing DVC takes 0.3 s

    with Repo(str(root)) as repo:
        return _described(repo.stage.load_one(str(root / "dvc.yaml"), name), repo.index.graph, root)


def _read(root: Path, reminder: Reminder, allow_missing: bool, *, mend: bool) -> Graph:
    from dvc.repo.reproduce import get_active_graph  # here: importing DVC takes 0.3 s

    with locked_repo(root, reminder, mend=mend) as repo:
        graph = get_active_graph(repo.index.graph)
        ordered = list(
            TopologicalSorter(
                {stage: list(graph.successors(stage)) for stage in graph}
            ).static_order()
        )
        _refuse_missing(ordered, root)
        data = tuple(
            _address(stage, root) for stage in ordered if stage.is_data_source and _changed(stage)
        )
        stages = tuple(
            replace(_described(stage, graph, root), stale=_changed(stage, allow_missing))
            for stage in ordered
            if not stage.is_data_source
        )
    return Graph(stages, data)


def _described(stage: Any, graph: Any, root: Path) -> Stage:
    needed = list(graph.successors(stage))
    reads = tuple(one.fs_path for one in stage.deps)
    outputs = [Path(out.fs_path) for need in needed for out in need.outs]
    return Stage(
        name=_address(stage, root),
        command=stage.cmd if isinstance(stage.cmd, str) else "\n".join(stage.cmd or ()),
        needs=tuple(sorted(_address(need, root) for need in needed if not need.is_data_source)),
        frozen=stage.frozen,
        reads=reads,
        writes=tuple(one.fs_path for one in stage.outs),
        sources=tuple(
            sorted(str(out) for out in outputs if any(overlap(out, Path(one)) for one in reads))
        ),
    )


def _refuse_missing(stages: Iterable[Any], root: Path) -> None:
    """Refuse a dependency that is missing and that no stage makes; DVC would say only its path.

    Raises:
        BadInput: with the way to get it, if it is the data set.
    """
    outputs = {Path(out.fs_path) for stage in stages for out in stage.outs}
    for stage in stages:
        for dependency in stage.deps:
            path = Path(dependency.fs_path)
            if dependency.exists or any(overlap(path, output) for output in outputs):
                continue
            way = "run `espalier data SOURCE` first" if path == root / DATA else "put it there"
            label = _address(stage, root).rpartition("@")[2]
            raise BadInput(f"{label}: Expected {path} to exist; found nothing there: {way}.")


def overlap(path: Path, other: Path) -> bool:
    """Whether a path lies in another one, or the other in it."""
    return path.is_relative_to(other) or other.is_relative_to(path)


def _address(stage: Any, root: Path) -> str:
    """`stage.addressing` relative to the project, whatever the working directory is."""
    file = os.path.relpath(stage.path, root)
    if stage.is_data_source:
        return file
    return stage.name if file == "dvc.yaml" else f"{file}:{stage.name}"


def _changed(stage: Any, allow_missing: bool = False) -> bool:
    from dvc.lock import LockError

    try:
        return bool(stage.changed(allow_missing))
    except (
        LockError
    ):  # another run is making it; reproducing it waits for that run, and checks again
        return True


def _force(stages: tuple[Stage, ...], force: Collection[str]) -> tuple[Stage, ...]:
    unknown = set(force) - {stage.name for stage in stages} - {stage.label for stage in stages}
    if unknown:
        known = ", ".join(stage.label for stage in stages)
        raise BadInput(f"Expected --force to name one of {known}; found {min(unknown)!r}.")
    return tuple(
        replace(stage, stale=True, forced=True) if {stage.name, stage.label} & set(force) else stage
        for stage in stages
    )


def _propagate(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Mark the descendants of stale stages; one pass is enough in topological order."""
    stale: set[str] = set()
    spread = []
    for stage in stages:
        if stage.stale or (not stage.frozen and stale.intersection(stage.needs)):
            stale.add(stage.name)
        spread.append(replace(stage, stale=stage.name in stale))
    return tuple(spread)

"""A stage as a run hands it to a worker, and what the worker returns: text only."""

from dataclasses import dataclass, field
from typing import Any

DEPLOYMENT = "stage/stage"  # name of the flow and of the deployment
POOL = "espalier-stages"  # in `prefect.yaml`; not the pool of the runs, which would wait for each other
RESULT = "espalier-stage-result"  # type of the artifact that a worker leaves


@dataclass(frozen=True)
class Request:
    """A stage to be made.

    Attributes:
        stage: address of the stage in DVC.
        key: SHA-256 of everything that the stage reads, as hexadecimal digits: its command, its
            parameters, and the hashes of its dependencies.
        version: version of Espalier.
        repository: address of the git repository.
        commit: commit of the project.
        folder: folder of the project in the repository; empty for the repository's root.
        files: texts of the files that may differ from the commit: `params.yaml`, `dvc.yaml`, and
            the `.dvc` files.
        entries: entries of `dvc.lock` of the stages whose outputs it reads.
        forced: whether it is made although the result is known.
    """

    stage: str
    key: str
    version: str
    repository: str
    commit: str
    folder: str = ""
    files: dict[str, str] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    forced: bool = False


@dataclass(frozen=True)
class Result:
    """A stage that a worker has made or found.

    Attributes:
        entry: its entry of `dvc.lock`; its outputs are in DVC's remote.
        host: name of the worker's machine.
        device: name of its GPU or processor.
        executed: whether it was made, and not found in the remote.
    """

    entry: dict[str, Any]
    host: str
    device: str
    executed: bool

"""The run's side: hand a stage to a worker, wait for it, and record what it returns."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from espalier import __version__
from espalier.errors import BadInput, EspalierError, ServerAway, Stopped, TryAgain, reason_of
from espalier.files import digest
from espalier.paths import PARAMS
from espalier.tasks.commands import call_dvc
from espalier.tasks.dvc_repo import locked_repo
from espalier.tasks.fleet.lock_entries import describe, record_entry
from espalier.tasks.fleet.remote import Remote, naming_remote
from espalier.tasks.fleet.repository import find_source
from espalier.tasks.fleet.request import DEPLOYMENT, RESULT, Request, Result
from espalier.tasks.fleet.watching import AWAY, FlowRunWatch
from espalier.tasks.graph import Stage
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine
from espalier.waiting import Reminder

_KINDS: dict[str | None, type[EspalierError]] = {
    kind.__name__: kind for kind in (BadInput, TryAgain, ServerAway, Stopped, EspalierError)
}


def hand_over(stage: Stage, project: Project, queue: str, report: ReportLine) -> bool:
    """Have a stage made by a worker, unless it was made before from the same inputs.

    Args:
        stage: the stage; its dependencies are recorded in `dvc.lock`.
        project: the project.
        queue: work queue whose workers may make it.
        report: receives lines for the user.

    Returns:
        Whether the stage was made; False if its result was found.

    Raises:
        EspalierError: if the stage failed; its kind says what to do next.
    """
    remote = _check(stage, project, report)
    _push_inputs(stage, project, report)
    request = _request(stage, project, report)
    with naming_server(), get_client(sync_client=True) as client:
        run = _submit(client, request, queue, stage.label, remote)
        if not (run.state and run.state.is_final()):
            report(f"handed to the queue {queue!r}")
            run = FlowRunWatch(client, run.id, queue, report).wait(project)
        result = _result(client, run)
    if result is None:
        raise _failure(stage, run.state)
    record_result(result, stage, project, remote, report)
    how = "made" if result.executed else "made before with the same inputs, found"
    report(f"{how} by a worker on {result.host} ({result.device})")
    return result.executed


def record_result(
    result: Result, stage: Stage, project: Project, remote: Remote, report: ReportLine
) -> None:
    """Record a worker's result in `dvc.lock`, if the remote of the project has its outputs.

    Raises:
        TryAgain: if it lacks them, or cannot be reached.
    """
    with naming_remote(remote.path):
        complete = remote.has_outputs(result.entry)
    if not complete:
        raise TryAgain(
            f"Expected {remote.path} to have the outputs of the worker on {result.host}; found none: the "
            "next attempt makes them again; if it ends alike, commit `.dvc/config`, which workers read."
        )
    record_entry(project.root, stage.name, result.entry, Reminder(report))


@contextmanager
def naming_server() -> Iterator[None]:
    """Turn failures of Prefect's server into one sentence.

    Raises:
        TryAgain: if it does not answer.
    """
    try:
        yield
    except AWAY as error:
        raise TryAgain(
            f"Expected Prefect's server at {PREFECT_API_URL.value()} to answer; found: "
            f"{reason_of(error)}"
        ) from None


def bring_inputs(stage: Stage, project: Project, report: ReportLine) -> None:
    """Bring the outputs of workers that a stage of this machine reads.

    Raises:
        TryAgain: if they cannot be pulled.
    """
    missing = [path for path in stage.sources if not Path(path).exists()]
    if missing:
        names = [str(Path(path).relative_to(project.root)) for path in missing]
        report(f"pulling {', '.join(names)}")
        call_dvc(project, report, "pull", *names)


def push_outputs(stage: Stage, project: Project, report: ReportLine) -> None:
    """Push what a stage has made here, so that every recorded output is where all machines find it.

    Raises:
        TryAgain: if it cannot be pushed.
    """
    call_dvc(project, report, "push", stage.name)


def _check(stage: Stage, project: Project, report: ReportLine) -> Remote:
    """The remote through which workers get files; what no worker could make is refused.

    Raises:
        BadInput: with the sentence for the user.
    """
    if not PREFECT_API_URL.value():
        raise BadInput(
            "Expected PREFECT_API_URL to name the Prefect server of the workers, "
            f"because `fleet` in {PARAMS} hands stages to them; found none: set it, or remove `fleet`."
        )
    if ":" in stage.name:
        raise BadInput(
            "Expected a stage of `fleet` to stand in the project's dvc.yaml; found "
            f"{stage.name}: take it out of `fleet`."
        )
    with locked_repo(project.root, Reminder(report)) as repo:
        return Remote.of(repo)


def _push_inputs(stage: Stage, project: Project, report: ReportLine) -> None:
    """Push the inputs of a stage that were made or prepared here."""
    with project.pushing:
        here = [path for path in stage.sources if Path(path).exists()]
        names = [str(Path(path).relative_to(project.root)) for path in here]
        new = [name for name in names if name not in project.pushed]
        if new:
            call_dvc(project, report, "push", *new)
            project.pushed.update(new)


def _request(stage: Stage, project: Project, report: ReportLine) -> Request:
    root = project.root
    source = find_source(root)
    key, entries = describe(root, stage.name, Reminder(report))
    files = [root / PARAMS, root / "dvc.yaml", *sorted(root.glob("*.dvc"))]
    return Request(
        stage=stage.name,
        key=key,
        version=__version__,
        repository=source.repository,
        commit=source.commit,
        folder=source.folder,
        files={path.name: path.read_text(encoding="utf-8") for path in files if path.is_file()},
        entries=entries,
        forced=stage.forced,
    )


def _submit(
    client: SyncPrefectClient, request: Request, queue: str, name: str, remote: Remote
) -> FlowRun:
    """The flow run that makes a stage, or has made it.

    Two runs that need the same stage get the same flow run, because Prefect keeps one for each idempotency
    key. It keeps failed ones too, so the key counts the attempts.

    Args:
        client: client of Prefect's server.
        request: the stage.
        queue: work queue.
        name: name of the flow run.
        remote: the remote, which must still have the outputs of a former flow run.

    Raises:
        BadInput: if the deployment does not exist.
    """
    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        raise BadInput(
            f"Expected the deployment {DEPLOYMENT} on Prefect's server; found none: "
            "`prefect --no-prompt deploy --name stage` in the project's folder makes it."
        ) from None
    for attempt in count():
        run = client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"request": asdict(request)},
            name=name,
            work_queue_name=queue,
            idempotency_key=f"{idempotency_key(request, remote)}-{attempt}",
        )
        if not (run.state and run.state.is_final()):
            return run
        result = _result(client, run)
        with naming_remote(remote.path):
            if result is not None and remote.has_outputs(result.entry):
                return run
    raise AssertionError("attempts are not limited")


def idempotency_key(request: Request, remote: Remote) -> str:
    """The key of a request to workers of one version and one remote; a forced stage is made once in each run."""
    key, context = digest([request.key, request.version, *remote.place]), FlowRunContext.get()
    if not request.forced or context is None or context.flow_run is None:
        return key
    return f"{key}-{context.flow_run.id}"


def _result(client: SyncPrefectClient, run: FlowRun) -> Result | None:
    """The result of a completed run; None if it failed, or if its result was deleted."""
    if run.state is None or not run.state.is_completed():
        return None
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]),
            type=ArtifactFilterType(any_=[RESULT]),
        )
    )
    try:
        return Result(**json.loads(str(found[0].data))) if found else None
    except (TypeError, ValueError):  # of another version
        return None


def _failure(stage: Stage, state: State[Any] | None) -> EspalierError:
    """The error of a worker's run: the stage's own, or that it crashed or was cancelled."""
    if state is not None and state.name in _KINDS:
        return _KINDS[state.name](state.message or "The worker failed without a message.")
    found = f"{state.name}: {state.message}" if state is not None else "no state"
    if state is not None and state.is_failed():
        return EspalierError(f"Expected the worker to return a result; found {found}")
    return TryAgain(f"Expected the worker to end the stage; found {found}")

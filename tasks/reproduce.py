"""Reproduce one stage: on a slot, by `dvc repro --single-item`, with retries by its exit status."""

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed, Failed

from espalier.errors import BadInput, EspalierError, Stopped, TryAgain
from espalier.holders import read_holder
from espalier.locks import record_holder
from espalier.params import read_params
from espalier.system_errors import reaction_to, sentences
from espalier.tasks import processes
from espalier.tasks.artifacts import publish_model
from espalier.tasks.commands import DVC, pause
from espalier.tasks.dvc_locks import find_blockers, release_dead
from espalier.tasks.dvc_output import DvcOutput
from espalier.tasks.environment import stage_environment
from espalier.tasks.fleet.handover import bring_inputs, hand_over, push_outputs
from espalier.tasks.graph import Stage
from espalier.tasks.outcome import OutcomeFile, outcome_file
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine, line_reporter
from espalier.tasks.slots import Allocation, demand_of, hold_lock, take_slots
from espalier.waiting import Reminder

RETRIES = 3
_POLL = 0.5  # seconds between two looks at DVC's locks


def worth_another_try(_task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Whether to retry, by exit status: 75 always, 2 and 143 never, anything else once."""
    error = state.data
    if isinstance(error, TryAgain):
        return True
    return not isinstance(error, (BadInput, Stopped)) and run.run_count == 1


@task(
    name="reproduce",
    task_run_name="{stage.label}",
    cache_policy=NO_CACHE,  # DVC decides what is done
    persist_result=False,
    retries=RETRIES,
    retry_condition_fn=worth_another_try,
)
def reproduce(stage: Stage, project: Project) -> State[Any]:
    """Reproduce a stage if it is out of date. The message of a failure is one sentence."""
    report = line_reporter(get_run_logger())
    try:
        with sentences(project.root):
            _wait_before_retry(project, report)
            executed = _make(stage, project, report)
            project.live.end(stage.label)
    except EspalierError as error:
        project.live.end(stage.label, error)
        report(f"failed: {str(error).removeprefix(f'{stage.label}: ')}")
        return Failed(message=str(error), data=error)
    publish_model(stage.label, project.root)
    if not executed:
        return Completed(name="Unchanged", message="None of its dependencies has changed.")
    return Completed(message=f"{stage.label} is done.")


def _make(stage: Stage, project: Project, report: ReportLine) -> bool:
    """Whether a stage was made; it is left alone if it is not out of date."""
    if stage.stale:
        return attempt(stage, project, report)
    report("unchanged")
    return False


def attempt(stage: Stage, project: Project, report: ReportLine) -> bool:
    """Reproduce a stage once, as soon as its lock and a slot are free.

    Returns:
        Whether the stage was made; False if DVC found it unchanged.

    Raises:
        EspalierError: if the stage failed; its kind says what to do next, and its message begins
            with the stage's name.
    """
    with ExitStack() as stack:
        # one run at a time makes a given stage; another run waits, and then finds it unchanged
        reminder = Reminder(report)
        lock = project.locks / f"stage-{quote(stage.name, safe='@')}"
        handle = stack.enter_context(
            hold_lock(lock, project.stop, lambda: reminder.say(_made_by(lock)))
        )
        record_holder(handle)
        queue = project.queues.get(stage.label)
        with _naming(stage):
            if queue:
                return hand_over(stage, project, queue, report)
            report("starts")
            if project.queues:
                bring_inputs(stage, project, report)
            executed = _make_here(stage, project, handle, reminder, report)
            if project.queues and executed:
                push_outputs(stage, project, report)
            return executed


@contextmanager
def _naming(stage: Stage) -> Iterator[None]:
    """Begin the message of each error with the name of the stage."""
    try:
        yield
    except EspalierError as error:
        if str(error).startswith(f"{stage.label}: "):
            raise
        raise type(error)(f"{stage.label}: {error}") from None


def _make_here(
    stage: Stage, project: Project, lock: int, reminder: Reminder, report: ReportLine
) -> bool:
    """Reproduce a stage on a slot of this machine.

    Args:
        stage: the stage.
        project: the project.
        lock: handle of the lock of the stage.
        reminder: receives sentences about waiting.
        report: receives lines for the user.
    """
    while True:
        wait_for_files(stage, project, reminder)
        with take_slots(
            project.slots,
            demand_of(stage.kind, stage.label, read_params(project.root)),
            project.stop,
            lambda: reminder.say("waiting: every slot of this machine is taken"),
        ) as allocation:
            inherited = Allocation(allocation.environment, (lock, *allocation.handles))
            executed = _run_dvc(stage, project, inherited, report)
        if executed is not None:
            return executed


def wait_for_files(stage: Stage, project: Project, reminder: Reminder) -> None:
    """Wait until no running DVC command uses the files of a stage in a way that excludes it.

    Raises:
        Stopped: if the run is stopped meanwhile.
    """
    while True:
        release_dead(project.root)
        blockers = find_blockers(project.root, stage.reads, stage.writes)
        if not blockers:
            return
        reminder.say(f"waiting: {' and '.join(map(str, blockers))} uses its files")
        if project.stop.wait(_POLL):
            raise Stopped(
                f"{stage.label}: The run was stopped while it waited for another command."
            )


def _made_by(lock: Path) -> str:
    """A sentence about the run that holds the lock of a stage."""
    holder = read_holder(lock)
    return f"waiting: another run is making it{f' ({holder})' if holder else ''}"


def _wait_before_retry(project: Project, report: ReportLine) -> None:
    """Wait before another attempt. Prefect's own retry delay cannot be interrupted."""
    context = TaskRunContext.get()
    retry = context.task_run.run_count - 1 if context else 0
    if retry > 0:
        seconds = project.limits.delay * 2 ** (retry - 1) * random.uniform(0.75, 1.25)
        report(f"attempt {retry + 1} begins in {seconds:.0f} s")
        if project.stop.wait(seconds):
            raise Stopped("The run was stopped before another attempt.")


def _run_dvc(
    stage: Stage, project: Project, allocation: Allocation, report: ReportLine
) -> bool | None:
    """Run `dvc repro` for one stage.

    Returns:
        Whether the stage was made; None if another DVC command was using its files.
    """
    output = DvcOutput(stage, report, project.live.listener(stage.label, report))
    with outcome_file(project.root) as outcome:
        environment = {**allocation.environment, **outcome.environment}
        status = _call(_repro(stage), stage, project, environment, allocation.handles, output)
        if status != 0 and not _is_finished(outcome, output):
            if output.busy:
                pause(project)
                return None
            raise _failure(stage, output, outcome)
    if output.errors:
        _store(stage, project, allocation, report)
    if not output.unchanged:
        report("done")
    return not output.unchanged


def _call(
    command: list[str],
    stage: Stage,
    project: Project,
    environment: Mapping[str, str],
    handles: tuple[int, ...],
    output: DvcOutput,
) -> int:
    """The exit status of a command of DVC for a stage.

    Raises:
        Stopped: if the run was stopped, or the command took longer than the limit.
    """
    try:
        return processes.run(
            command,
            folder=project.root,
            environment={**stage_environment(), **project.variables, **environment},
            on_line=output.on_line,
            stop=project.stop,
            timeout=project.limits.timeout,
            grace=project.limits.grace,
            handles=handles,
        )
    except TimeoutError:
        raise Stopped(
            f"{stage.label}: Expected it to end within {project.limits.timeout:g} s; "
            "found it still running, and stopped it."
        ) from None


def _is_finished(outcome: OutcomeFile, output: DvcOutput) -> bool:
    """Whether the stage itself succeeded, and DVC failed when it stored the outputs."""
    recorded = outcome.read()
    return recorded is not None and recorded.status == 0 and bool(output.errors)


def _store(stage: Stage, project: Project, allocation: Allocation, report: ReportLine) -> None:
    """Put the outputs of a finished stage into DVC's cache again.

    With a full disk under its cache, DVC fails after the stage has ended, or prints an error, records the
    stage as done and exits with 0. The outputs are complete; another `dvc repro` would remove them and
    repeat the whole stage.

    Raises:
        BadInput: if they cannot be stored either this time; a retry of the stage would repeat it.
    """
    report("its outputs are not in DVC's cache: storing them again")
    if project.stop.wait(project.limits.delay):
        raise Stopped("The run was stopped before the outputs were stored again.")
    command, output = [*DVC, "commit", "--force", stage.name], DvcOutput(stage, report)
    status = _call(command, stage, project, allocation.environment, allocation.handles, output)
    while status != 0 and output.busy:
        pause(project)
        wait_for_files(stage, project, Reminder(report))
        output = DvcOutput(stage, report)
        status = _call(command, stage, project, allocation.environment, allocation.handles, output)
    if status != 0 or output.errors:
        found = "; ".join(output.errors) or f"status {status}"
        raise BadInput(
            f"{stage.label}: Expected DVC to store the outputs in its cache; found: {found}. They are "
            f"complete: free space there, run `dvc commit --force {stage.name}`, and run again."
        )


def _repro(stage: Stage) -> list[str]:
    force = ["--force"] if stage.forced else []
    return [*DVC, "repro", "--single-item", *force, stage.name]


def _failure(stage: Stage, output: DvcOutput, outcome: OutcomeFile) -> EspalierError:
    """The error that the stage recorded or printed, else DVC's message about it."""
    recorded = outcome.read() or output.outcome
    if recorded and recorded.status != 0:
        return recorded.error(stage.label)
    reason = "; ".join(output.errors) or "no message"
    if reaction := reaction_to(reason):
        return reaction.kind(
            f"{stage.label}: Expected DVC to read and write its files; found: {reason}: "
            f"{reaction.remedy}."
        )
    return EspalierError(
        f"{stage.label}: Expected it to finish or to give a reason; found: {reason}"
    )

"""Reproduce one stage: on a slot, by `dvc repro --single-item`, with retries that its exit status decides on."""

import random
import sys
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed, Failed

from espalier.errors import BadInput, EspalierError, Stopped, TryAgain
from tasks import processes
from tasks.artifacts import publish_model
from tasks.dvc_output import DvcOutput
from tasks.environment import stage_environment
from tasks.graph import Stage
from tasks.outcome import Outcome, expected
from tasks.project import Project
from tasks.reporting import Tell, teller
from tasks.slots import SHARES, Place, hold, take

RETRIES = 3


def worth_another_try(_task: Any, run: TaskRun, state: State[Any]) -> bool:
    """What the exit status says: 75 is tried again, 2 and 143 never, anything else is a defect, tried once more."""
    error = state.data
    if isinstance(error, TryAgain):
        return True
    return not isinstance(error, (BadInput, Stopped)) and run.run_count == 1


@task(
    name="reproduce",
    task_run_name="{stage.label}",
    cache_policy=NO_CACHE,  # what is done is DVC's to know
    persist_result=False,
    retries=RETRIES,
    retry_condition_fn=worth_another_try,
)
def reproduce(stage: Stage, project: Project) -> State[Any]:
    """Reproduce a stage, if it is out of date. The message of a failure is one sentence for the user."""
    tell = teller(get_run_logger())
    try:
        _pause(project, tell)
        made = stage.stale and attempt(stage, project, tell)
        project.live.end(stage.label)
    except EspalierError as error:
        project.live.end(stage.label, error)
        tell(f"failed: {str(error).removeprefix(f'{stage.label}: ')}")
        return Failed(message=str(error), data=error)
    publish_model(stage.label, project.root)
    if not made:
        return Completed(name="Unchanged", message="Nothing that it depends on has changed.")
    return Completed(message=f"{stage.label} is done.")


def attempt(stage: Stage, project: Project, tell: Tell) -> bool:
    """Reproduce a stage once, when its turn comes and a slot is free.

    Returns:
        Whether it was made; not, if what was made before it came out as it had been.

    Raises:
        EspalierError: If it failed; the kind says what to do next, and the message begins with the stage's name.
    """
    with ExitStack() as held:
        # One run at a time makes a given stage. The other waits, and then finds it done.
        lock = project.locks / f"stage-{quote(stage.name, safe='@')}"
        handle = held.enter_context(
            hold(lock, project.stop, lambda: tell("waiting: another run is making it"))
        )
        share = SHARES.get(stage.kind, "one")
        place = held.enter_context(
            take(
                project.slots,
                share,
                project.stop,
                lambda: tell("waiting: every slot of this machine is taken"),
            )
        )
        return _run_dvc(stage, project, Place(place.environment, (handle, *place.handles)), tell)


def _pause(project: Project, tell: Tell) -> None:
    """Wait before another attempt. Here and not in Prefect's retry delay: that sleep cannot be interrupted."""
    context = TaskRunContext.get()
    retry = context.task_run.run_count - 1 if context else 0
    if retry > 0:
        seconds = project.patience.delay * 2 ** (retry - 1) * random.uniform(0.75, 1.25)
        tell(f"attempt {retry + 1} begins in {seconds:.0f} s")
        if project.stop.wait(seconds):
            raise Stopped("The run was stopped before another attempt.")


def _run_dvc(stage: Stage, project: Project, place: Place, tell: Tell) -> bool:
    chatter, show_live = DvcOutput(stage, tell), project.live.listener(stage.label, tell)

    def hear(line: str) -> None:
        show_live(line)
        chatter.hear(line)

    force = ["--force"] if stage.forced else []
    tell("starts")
    with expected(project.root) as outcome:
        try:
            status = processes.run(
                # DVC's lock on the project is short, but three seconds are not always enough: wait for it.
                [
                    sys.executable,
                    "-m",
                    "dvc",
                    "--wait-for-lock",
                    "repro",
                    "--single-item",
                    *force,
                    stage.name,
                ],
                folder=project.root,
                environment=stage_environment() | {**place.environment, **outcome.environment},
                hear=hear,
                stop=project.stop,
                timeout=project.patience.timeout,
                grace=project.patience.grace,
                handles=place.handles,
            )
        except TimeoutError:
            sentence = f"should be done within {project.patience.timeout:g} s. Found it still at work, and stopped it."
            raise Stopped(f"{stage.label}: {sentence}") from None
        if status != 0:
            raise _failure(stage, chatter, outcome)
    if not chatter.unchanged:
        tell("done")
    return not chatter.unchanged


def _failure(stage: Stage, chatter: DvcOutput, outcome: Outcome) -> EspalierError:
    """The error that the stage recorded, else what DVC said about it."""
    if chatter.busy:
        return TryAgain(
            f"{stage.label}: its files should be free. Found another DVC command at work on them."
        )
    told = outcome.read()
    if told and told.status != 0:
        return told.error(stage.label)
    reason = "; ".join(chatter.errors) or "no word from it"
    return EspalierError(f"{stage.label}: should finish, or say why not. Found: {reason}")

"""Promote the best model that passes the gates.

If none passes, the champion stays and no run fails.
"""

from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import EspalierError
from espalier.interpreter import python_module
from espalier.outcomes import Outcome
from espalier.registry.promotion import find_unchanged
from espalier.tasks import processes
from espalier.tasks.environment import stage_environment
from espalier.tasks.events import events_of_moves
from espalier.tasks.outcome import outcome_file
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine, line_reporter
from espalier.tasks.reproduce import RETRIES, worth_another_try

STAYS = "Stays"  # name of the state in which the champion is unchanged


@task(
    name="promote",
    task_run_name="promote",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_condition_fn=worth_another_try,
)
def promote(project: Project) -> State[Any]:
    """Promote as `espalier promote` does: by that command, unless its outcome is unchanged."""
    report = line_reporter(get_run_logger())
    try:
        outcome = _unchanged(project, report) or _run(project, report)
    except EspalierError as error:
        return Failed(message=str(error), data=error)
    if outcome.status == 0:
        return Completed(message="Every alias is at the best model that passes its gates.")
    if outcome.status == EspalierError.status and not outcome.defect:
        return Completed(name=STAYS, message=outcome.message)
    failure = outcome.error("promote")
    return Failed(message=str(failure), data=failure)


def _unchanged(project: Project, report: ReportLine) -> Outcome | None:
    """The outcome of a promotion that would judge the same again; None if the models have to be judged."""
    unchanged = find_unchanged(project.root)
    if unchanged is None:
        return None
    for line in unchanged.stays:
        report(line)
    status = EspalierError.status if unchanged.refusals else 0
    return Outcome(status, "\n".join(unchanged.refusals))


def _run(project: Project, report: ReportLine) -> Outcome:
    """The outcome of the command; a defect if it recorded none."""
    with outcome_file(project.root) as file, events_of_moves(project.root):
        command = ["espalier"] if project.variables else python_module("espalier")
        status = processes.run(
            [*command, "promote"],
            folder=project.root,
            environment=stage_environment() | project.variables | file.environment,
            on_line=report,
            stop=project.stop,
            grace=project.limits.grace,
        )
        recorded = file.read()
    if status == 0:
        return Outcome(0, "")
    missing = Outcome(status, "Expected a recorded outcome; found none.", defect=True)
    return recorded or missing

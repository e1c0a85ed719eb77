"""Promote what passes the gates. That nothing does is no failure of a run: the champion stays, and the run says why."""

import sys
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import EspalierError
from tasks import processes
from tasks.environment import stage_environment
from tasks.outcome import Told, expected
from tasks.project import Project
from tasks.reporting import teller
from tasks.reproduce import RETRIES, worth_another_try

STAYS = "Stays"  # the name of the state in which the champion is who it was


@task(
    name="promote",
    task_run_name="promote",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_condition_fn=worth_another_try,
)
def promote(project: Project) -> State[Any]:
    """Run `espalier promote` in the project."""
    try:
        with expected(project.root) as outcome:
            status = processes.run(
                [sys.executable, "-m", "espalier", "promote"],
                folder=project.root,
                environment=stage_environment() | outcome.environment,
                hear=teller(get_run_logger()),
                stop=project.stop,
                grace=project.patience.grace,
            )
            told = outcome.read() or Told(
                status, "it should say how it ended. Found no word from it.", defect=True
            )
    except EspalierError as error:
        return Failed(message=str(error), data=error)
    if status == 0:
        return Completed(message="Every alias stands at the best model that passes its gates.")
    if status == EspalierError.status and not told.defect:
        return Completed(name=STAYS, message=told.message)
    failure = told.error("promote")
    return Failed(message=str(failure), data=failure)

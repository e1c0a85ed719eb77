"""Move the aliases of the registered model to the best models that pass their gates."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from espalier.errors import EspalierError
from espalier.tasks.project import TimeLimits, open_project
from espalier.tasks.promote import promote as promote_champion
from espalier.tasks.summary import fail

LIMITS = TimeLimits()


@flow(name="promote", persist_result=False)
def promote(folder: str = ".", limits: TimeLimits = LIMITS) -> State[Any]:
    """Judge every candidate and the champion on the current test data, and move the aliases.

    Args:
        folder: a folder of the project.
        limits: delays and time limits, in seconds.
    """
    try:
        with open_project(folder, limits) as project:
            return promote_champion(project, return_state=True)
    except EspalierError as error:
        return fail(error)

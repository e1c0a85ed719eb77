"""Let the aliases of the registered model stand at the best models that pass their gates."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from espalier.errors import EspalierError
from tasks.project import Patience, open_project
from tasks.promote import promote as promote_champion
from tasks.summary import fail

PATIENCE = Patience()


@flow(name="promote", persist_result=False)
def promote(folder: str = ".", patience: Patience = PATIENCE) -> State[Any]:
    """Promote: judge every candidate and the champion on the current test data, and move the aliases.

    Args:
        folder: A folder of the project.
        patience: Delays and time limits, in seconds.
    """
    try:
        with open_project(folder, patience) as project:
            return promote_champion(project, return_state=True)
    except EspalierError as error:
        return fail(error)

"""Pull the data that DVC tracks to where the stages read them."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from espalier.errors import EspalierError
from espalier.tasks.commands import call_dvc
from espalier.tasks.project import Project
from espalier.tasks.reporting import line_reporter
from espalier.tasks.reproduce import RETRIES, worth_another_try


@task(
    name="pull data",
    task_run_name="pull data",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=5,
    retry_condition_fn=worth_another_try,
)
def pull_data(names: tuple[str, ...], project: Project) -> State[None] | None:
    """Pull the data behind some `.dvc` files; nothing that DVC has not saved is overwritten."""
    report = line_reporter(get_run_logger())
    report(f"data: pulling the data of {', '.join(names)}")
    try:
        call_dvc(project, report, "pull", *names, place="data: ")
    except EspalierError as error:
        return Failed(message=str(error), data=error)
    return None

"""Pull the data that DVC tracks to where the stages read them."""

import sys

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from espalier import dvc_messages
from espalier.errors import BadInput, EspalierError, TryAgain
from espalier.tasks.commands import run_when_free
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
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "pull", *names]
    status, lines = run_when_free(command, project, report)
    if status == 0:
        return None
    error = _failure(names, " ".join(line.strip() for line in lines if line))
    return Failed(message=str(error), data=error)


def _failure(names: tuple[str, ...], output: str) -> EspalierError:
    files = " ".join(names)
    if dvc_messages.UNSAVED.search(output):
        return BadInput(
            f"data: Expected the data of {files} as DVC saved them; found unsaved changes. Keep "
            f"them by `dvc commit {files}`, or drop them by `dvc checkout --force {files}`."
        )
    kind = BadInput if dvc_messages.NO_REMOTE.search(output) else TryAgain
    return kind(f"data: Expected `dvc pull {files}` to pull the data; found: {output}")

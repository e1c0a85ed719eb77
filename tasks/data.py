"""Bring the data that DVC tracks to where the stages expect them."""

import re
import sys

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from espalier.errors import BadInput, EspalierError, TryAgain
from tasks import processes
from tasks.environment import stage_environment
from tasks.project import Project
from tasks.reporting import teller
from tasks.reproduce import RETRIES, worth_another_try

_UNSAVED = re.compile(r"unsaved|without confirmation", re.IGNORECASE)
_HOPELESS = re.compile(
    r"no remote provided|requires 'dvc-|config file error|no such remote", re.IGNORECASE
)
# "Missing files" is not among them: DVC says so too when the remote storage is away.


@task(
    name="bring data",
    task_run_name="bring data",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=5,
    retry_condition_fn=worth_another_try,
)
def bring_data(names: tuple[str, ...], project: Project) -> State[None] | None:
    """Pull the data behind some `.dvc` files; nothing that DVC has not saved is overwritten."""
    heard: list[str] = []
    tell = teller(get_run_logger())
    tell(f"data: bringing what {', '.join(names)} names")
    status = processes.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "pull", *names],
        folder=project.root,
        environment=stage_environment(),
        hear=heard.append,
        stop=project.stop,
        grace=project.patience.grace,
    )
    if status == 0:
        return None
    error = _failure(names, " ".join(line.strip() for line in heard if line))
    return Failed(message=str(error), data=error)


def _failure(names: tuple[str, ...], said: str) -> EspalierError:
    if _UNSAVED.search(said):
        files = " ".join(names)
        return BadInput(
            f"data: what {files} tracks should be as DVC saved it. Found changes that it has not saved: keep them by "
            f"`dvc commit {files}`, or drop them by `dvc checkout --force {files}`."
        )
    kind = BadInput if _HOPELESS.search(said) else TryAgain
    return kind(f"data: `dvc pull {' '.join(names)}` should bring the data. Found: {said}")

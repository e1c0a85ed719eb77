"""Ask the registry whether it still holds what the receipt says: it may have been wiped although DVC sees no change."""

import sys

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import processes
from tasks.environment import stage_environment
from tasks.project import Project


@task(
    name="check the registry",
    task_run_name="check the registry",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_registry(project: Project) -> bool:
    """Whether the registry holds all that `registered.json` lists. Any doubt is a no: registering again is harmless."""
    status = processes.run(
        [sys.executable, "-m", "espalier", "register", "--check"],
        folder=project.root,
        environment=stage_environment(),
        hear=lambda _line: None,
        stop=project.stop,
        grace=project.patience.grace,
    )
    return status == 0

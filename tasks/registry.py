"""Check the registry against the receipt: it may have been wiped although DVC sees no change."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from espalier.interpreter import python_module
from espalier.registry import is_registered
from espalier.tasks import processes
from espalier.tasks.environment import stage_environment
from espalier.tasks.project import Project


@task(
    name="check the registry",
    task_run_name="check the registry",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def check_registry(project: Project) -> bool:
    """Whether the registry holds everything in `registered.json`.

    Any failure counts as no, because registering again is harmless.
    """
    if is_registered(project.root):
        return True
    status = processes.run(
        python_module("espalier", "register", "--check"),
        folder=project.root,
        environment=stage_environment(),
        on_line=lambda _line: None,
        stop=project.stop,
        grace=project.limits.grace,
    )
    return status == 0

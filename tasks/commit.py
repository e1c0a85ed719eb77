"""Commit the files by which DVC records data and results."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import EspalierError
from espalier.paths import AUDIT
from espalier.tasks.commands import call
from espalier.tasks.project import Project
from espalier.tasks.reporting import line_reporter

_LOCK = "dvc.lock"


@task(name="commit", task_run_name="commit", cache_policy=NO_CACHE, persist_result=False)
def commit(project: Project, message: str) -> State[None]:
    """Commit `dvc.lock`, the `.dvc` files and the audit, and nothing else, if they changed.

    Args:
        project: the project.
        message: body of the commit.
    """
    records = [path.name for path in sorted(project.root.glob("*.dvc")) if path.is_file()]
    if (project.root / _LOCK).is_file():
        records.append(_LOCK)
    if (project.root / AUDIT).is_dir():
        records.append(AUDIT)
    report = line_reporter(get_run_logger())

    def git(*words: str) -> list[str]:
        return call(["git", *words, "--", *records], project, report, "commit: ")

    try:
        git("add")
        if not git("status", "--porcelain"):
            return Completed(message="Nothing to commit.")
        git("commit", "--quiet", "-m", "Record data and results of a run", "-m", message)
    except EspalierError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=f"Committed {', '.join(records)}.")

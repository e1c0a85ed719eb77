"""Commit the files by which DVC records data and results."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import EspalierError
from espalier.paths import AUDIT
from espalier.tasks.fetch import call
from espalier.tasks.project import Project

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
    try:
        call(project, ["git", "add", "--", *records])
        if not call(project, ["git", "status", "--porcelain", "--", *records]):
            return Completed(message="Nothing to commit.")
        subject = "Record data and results of a run"
        call(project, ["git", "commit", "--quiet", "-m", subject, "-m", message, "--", *records])
    except EspalierError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=f"Committed {', '.join(records)}.")

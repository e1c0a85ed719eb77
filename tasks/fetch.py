"""Fetch what others changed: commits of the repository, and data of DVC's remote and of its imports."""

from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import EspalierError
from espalier.tasks.commands import call, call_dvc
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine, line_reporter
from espalier.tasks.reproduce import RETRIES, worth_another_try
from espalier.yaml_files import read_yaml

_PLACE = "fetch: "


@task(
    name="fetch",
    task_run_name="fetch",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=5,
    retry_condition_fn=worth_another_try,
)
def fetch(project: Project) -> State[None]:
    """Pull the repository's branch, where it has an upstream, and update or pull the data behind it."""
    report = line_reporter(get_run_logger())
    try:
        if _has_upstream(project, report):
            call(["git", "pull", "--ff-only", "--quiet"], project, report, _PLACE)
        for words in _data_commands(project.root):
            report(f"fetch: {words[-1]}")
            call_dvc(project, report, *words, place=_PLACE)
    except EspalierError as error:
        return Failed(message=str(error), data=error)
    return Completed(message="Code and data are those of their origins.")


def _has_upstream(project: Project, report: ReportLine) -> bool:
    try:
        call(["git", "rev-parse", "--abbrev-ref", "@{upstream}"], project, report)
    except EspalierError:
        return False
    return True


def _data_commands(root: Path) -> list[list[str]]:
    """Commands of DVC with their arguments: each brings the data of a `.dvc` file in the project's folder."""
    commands = []
    for path in sorted(root.glob("*.dvc")):
        if not path.is_file():
            continue  # the folder .dvc itself
        content, _ = read_yaml(path)
        is_import = isinstance(content, dict) and content.get("deps")
        if is_import:
            commands.append(["update", path.name])
        elif _has_remote(root):
            commands.append(["pull", path.name])
    return commands


def _has_remote(root: Path) -> bool:
    config = root / ".dvc" / "config"
    return config.is_file() and "remote" in config.read_text()

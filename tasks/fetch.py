"""Fetch what others changed: commits of the repository, and data of DVC's remote and of its imports."""

import re
import sys
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from espalier.errors import BadInput, EspalierError, TryAgain
from espalier.tasks.commands import run_when_free
from espalier.tasks.project import Project
from espalier.tasks.reporting import line_reporter
from espalier.tasks.reproduce import RETRIES, worth_another_try
from espalier.yaml_files import read_yaml

# failures that pass by themselves: no network, a busy server, another command that holds a lock
_PASSING = re.compile(
    "could not resolve|unable to access|timed out|connection|index.lock", re.IGNORECASE
)
_DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]


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
    try:
        if _has_upstream(project):
            call(project, ["git", "pull", "--ff-only", "--quiet"])
        for command in _data_commands(project.root):
            call(project, command)
    except EspalierError as error:
        return Failed(message=str(error), data=error)
    return Completed(message="Code and data are those of their origins.")


def call(project: Project, command: list[str]) -> list[str]:
    """Run a command in the project; returns the lines of its output.

    Raises:
        TryAgain: if it failed in a way that may pass by itself.
        BadInput: if it failed otherwise.
    """
    status, lines = run_when_free(command, project, line_reporter(get_run_logger()))
    if status == 0:
        return lines
    output = " ".join(line.strip() for line in lines if line.strip())
    spelled = " ".join(word for word in command if word not in _DVC[:2])
    kind = TryAgain if _PASSING.search(output) else BadInput
    raise kind(f"fetch: Expected `{spelled}` to succeed; found: {output or f'status {status}'}")


def _has_upstream(project: Project) -> bool:
    try:
        call(project, ["git", "rev-parse", "--abbrev-ref", "@{upstream}"])
    except EspalierError:
        return False
    return True


def _data_commands(root: Path) -> list[list[str]]:
    """The commands of DVC that bring the data of every `.dvc` file in the project's folder."""
    report = line_reporter(get_run_logger())
    commands = []
    for path in sorted(root.glob("*.dvc")):
        if not path.is_file():
            continue  # the folder .dvc itself
        content, _ = read_yaml(path)
        if isinstance(content, dict) and content.get(
            "deps"
        ):  # made by `dvc import` or `dvc import-url`
            commands.append([*_DVC, "update", path.name])
        elif _has_remote(root):
            commands.append([*_DVC, "pull", path.name])
        report(f"fetch: {path.name}")
    return commands


def _has_remote(root: Path) -> bool:
    config = root / ".dvc" / "config"
    return config.is_file() and "remote" in config.read_text()

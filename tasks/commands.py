"""Commands of git and DVC in the project, which wait while another DVC command uses the same files."""

import random
import sys

from espalier import dvc_messages
from espalier.errors import Stopped
from espalier.interpreter import python_module
from espalier.tasks import processes
from espalier.tasks.dvc_locks import release_dead
from espalier.tasks.environment import stage_environment
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine
from espalier.waiting import Reminder

# DVC holds its lock on the project for a short time, but its default of 3 s is not always enough
DVC = python_module("dvc", "--wait-for-lock")
_SHORTEST, _LONGEST = 0.5, 2.0  # seconds before a command is repeated


def run_when_free(
    command: list[str], project: Project, report: ReportLine
) -> tuple[int, list[str]]:
    """Run a command to its end, again as long as DVC refuses it because of another command.

    Args:
        command: program and arguments.
        project: the project.
        report: receives a sentence while another command is waited for.

    Returns:
        The exit status and the lines of the output.

    Raises:
        Stopped: if the run is stopped meanwhile.
    """
    reminder = Reminder(report)
    while True:
        release_dead(project.root)
        lines: list[str] = []
        status = processes.run(
            command,
            folder=project.root,
            environment=stage_environment() | {"GIT_TERMINAL_PROMPT": "0"},
            on_line=lines.append,
            stop=project.stop,
            grace=project.limits.grace,
        )
        if status == 0 or not any(dvc_messages.BUSY.search(line) for line in lines):
            return status, lines
        reminder.say("waiting: another DVC command uses the same files")
        pause(project)


def call(command: list[str], project: Project, report: ReportLine, place: str = "") -> list[str]:
    """Run a command of git or DVC to its end; returns the lines of its output.

    Args:
        command: program and arguments.
        project: the project.
        report: receives a sentence while another command is waited for.
        place: the begin of the sentence of a failure, such as `fetch: `.

    Raises:
        TryAgain: if it failed in a way that may pass by itself.
        BadInput: if it failed otherwise.
        Stopped: if the run is stopped meanwhile.
    """
    status, lines = run_when_free(command, project, report)
    # with a full disk under its cache, DVC can print an error and exit with 0
    if status == 0 and not dvc_messages.FAILED.search("\n".join(lines)):
        return lines
    output = " ".join(line.strip() for line in lines if line.strip())
    spelled = " ".join(["dvc", *command[len(DVC) :]] if command[0] == sys.executable else command)
    raise dvc_messages.failure(spelled, output or f"status {status}", place)


def call_dvc(project: Project, report: ReportLine, *words: str, place: str = "") -> list[str]:
    """Run a command of DVC, such as `pull`, with its arguments; see `call`."""
    return call([*DVC, *words], project, report, place)


def pause(project: Project) -> None:
    """Wait a moment of random length, so that commands that collided do not collide again.

    Raises:
        Stopped: if the run is stopped meanwhile.
    """
    if project.stop.wait(random.uniform(_SHORTEST, _LONGEST)):
        raise Stopped("The run was stopped while it waited for another command.")

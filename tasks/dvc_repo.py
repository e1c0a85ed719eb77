"""The repository of DVC, locked for reading and changing the records of a project."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from espalier.dvc_record import DAMAGED, refuse_conflicts
from espalier.tasks.dvc_locks import mend_record, release_dead
from espalier.waiting import Reminder


@contextmanager
def locked_repo(root: Path, reminder: Reminder, *, mend: bool = True) -> Iterator[Any]:
    """DVC's repository, while no other DVC command reads or changes its records; waits without limit.

    Args:
        root: root folder of the project.
        reminder: receives a sentence while another command is waited for.
        mend: whether to replace a `dvc.lock` that was cut off by its copy.

    Raises:
        BadInput: if files of DVC hold both sides of a merge, or `dvc.lock` was cut off and is not to be mended.
    """
    with ExitStack() as stack:
        yield _enter(root, reminder, stack, mend=mend)


def _enter(root: Path, reminder: Reminder, stack: ExitStack, *, mend: bool) -> Any:
    from dvc.lock import LockError  # here: importing DVC takes 0.3 s
    from dvc.repo import Repo, lock_repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # its notices are for a terminal
    while True:
        refuse_conflicts(root)
        release_dead(root)
        if mend_record(root, replace=mend):
            reminder.say(
                f"dvc.lock was cut off, as by a killed DVC: restored from its copy; {DAMAGED} is the former"
            )
        with ExitStack() as attempt:
            repo = attempt.enter_context(Repo(str(root)))
            try:
                attempt.enter_context(lock_repo(repo))
            except LockError:  # after three seconds of waiting
                reminder.say("waiting: another DVC command reads or changes the project's records")
                continue
            stack.push(attempt.pop_all())
            return repo

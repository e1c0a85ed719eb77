"""DVC's English messages that decide what happens next. DVC reports them in no other way.

`tests/tasks/test_dvc_messages.py` provokes each of them from the installed DVC.
"""

import re

from espalier.errors import BadInput, EspalierError, TryAgain
from espalier.system_errors import reaction_to

# a lock of the whole repository, a lock of single files, and the record of these, cut off by a crash
BUSY = re.compile(
    r"Unable to acquire lock|is busy, it is being blocked by|Unable to read RWLock-file"
    r"|RWLock-file .* format error"
)
# what follows such a message: the other commands, and the advice to remove the lock by hand
BLOCKERS = re.compile(
    r"  \(PID \d+\): .*|If there are no processes with such PIDs, you can manually remove .*"
)
UNCHANGED = re.compile(r"Stage '.*' didn't change, skipping")
RESTORED = re.compile(r"Stage '.*' is cached - skipping run, checking out outputs")
ERROR = re.compile(r"ERROR: (?:failed to reproduce '.*?': )?(.*)")
EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)")  # of a stage, within an error
FAILED = re.compile(r"^ERROR: ", re.MULTILINE)
UNSAVED = re.compile(r"unsaved|without confirmation", re.IGNORECASE)
# no remote storage is configured, or its plug-in is missing: a retry cannot help. "Missing files"
# is not among them: DVC prints it also when the remote storage cannot be reached
NO_REMOTE = re.compile(
    r"no remote provided|requires 'dvc-|config file error|no such remote", re.IGNORECASE
)

# also printed when the remote storage cannot be reached
MISSING = re.compile(r"Is your cache up to date")
# a record or a graph that no other try makes readable
UNREADABLE = re.compile(r"'\S*dvc\.(?:yaml|lock)' (?:is invalid|validation failed)")
UNKNOWN = re.compile(r"does not exist as an output or a stage name")
# failures of git that pass by themselves: no network, a busy server, another command
_PASSING_IN_GIT = re.compile(
    "could not resolve|unable to access|timed out|connection|index.lock", re.IGNORECASE
)

# progress of DVC's own that a run leaves out
PROGRESS = re.compile(
    r"|Running stage '.*':|(Updating|Generating) lock file '.*'|To track the changes with git, run:"
    r"|\s+git add .*|To enable auto staging, run:|\s+dvc config core\.autostage true"
    r"|Use `dvc push` to send your updates to remote storage\."
    r"|Data and pipelines are up to date\."
    r"|WARNING: Process '.*' with \(Pid \d+\), in RWLock-file .* had been killed\..*"
    r"|WARNING: .* is frozen\. Its dependencies are not going to be .*"
)


def failure(spelled: str, output: str, place: str = "") -> EspalierError:
    """The error for a command of DVC or git that failed; its kind says whether another try can succeed.

    A remote that cannot be reached has no message of its own: DVC reports missing files, or the error of
    one of many libraries. So what is not known to last passes by itself, for DVC; for git, nothing but a
    network that fails and a lock does.

    Args:
        spelled: the command, as a user would type it, with the files after its second word.
        output: its output, in one line.
        place: the begin of the sentence, such as `fetch: `.
    """
    found = f"{place}Expected `{spelled}` to succeed; found: {output}"
    if UNSAVED.search(output):
        files = " ".join(spelled.split()[2:])
        return BadInput(
            f"{place}Expected the data of {files} as DVC saved them; found unsaved changes. Keep them "
            f"by `dvc commit {files}`, or drop them by `dvc checkout --force {files}`."
        )
    reaction = reaction_to(output)
    if reaction:
        return reaction.kind(f"{found.removesuffix('.')}: {reaction.remedy}.")
    if spelled.startswith("dvc pull") and MISSING.search(output):
        return TryAgain(
            f"{found.removesuffix('.')}: if the storage was reached, `dvc push` where the files are, or, for "
            "data, `espalier data SOURCE` here."
        )
    if spelled.startswith("git "):
        return (TryAgain if _PASSING_IN_GIT.search(output) else BadInput)(found)
    lasting = (NO_REMOTE, UNREADABLE, UNKNOWN)
    return (BadInput if any(one.search(output) for one in lasting) else TryAgain)(found)

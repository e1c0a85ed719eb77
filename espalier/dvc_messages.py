"""DVC's English messages that decide what happens next. DVC reports them in no other way.

`tests/tasks/test_dvc_messages.py` provokes each of them from the installed DVC.
"""

import re

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

# progress of DVC's own that a run leaves out
PROGRESS = re.compile(
    r"|Running stage '.*':|(Updating|Generating) lock file '.*'|To track the changes with git, run:"
    r"|\s+git add .*|To enable auto staging, run:|\s+dvc config core\.autostage true"
    r"|Use `dvc push` to send your updates to remote storage\."
    r"|Data and pipelines are up to date\."
    r"|WARNING: Process '.*' with \(Pid \d+\), in RWLock-file .* had been killed\..*"
    r"|WARNING: .* is frozen\. Its dependencies are not going to be .*"
)

"""What DVC prints around a stage's own lines: what to leave out, what to say in other words, what failed."""

import re
from dataclasses import dataclass, field

from tasks.graph import Stage
from tasks.reporting import Tell, readable

_LEFT_OUT = re.compile(
    r"|Running stage '.*':|(Updating|Generating) lock file '.*'|To track the changes with git, run:"
    r"|\s+git add .*|To enable auto staging, run:|\s+dvc config core\.autostage true"
    r"|Use `dvc push` to send your updates to remote storage\.|Data and pipelines are up to date\."
    r"|WARNING: Process '.*' with \(Pid \d+\), in RWLock-file .* had been killed\..*"
    r"|espalier: (?!warning: ).*"  # the stage's last sentence: it is in the outcome, and told as the failure
    r"|WARNING: .* is frozen\. Its dependencies are not going to be .*"
)
_UNCHANGED = re.compile(r"Stage '.*' didn't change, skipping")
_RESTORED = re.compile(r"Stage '.*' is cached - skipping run, checking out outputs")
_ERROR = re.compile(r"ERROR: (?:failed to reproduce '.*?': )?(.*)")
_BUSY = re.compile(r"Unable to acquire lock|is busy, it is being blocked by")


@dataclass
class DvcOutput:
    """Listens to one `dvc repro` of one stage."""

    stage: Stage
    tell: Tell
    errors: list[str] = field(default_factory=list)
    unchanged: bool = False
    _commands: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._commands = [f"> {command}" for command in self.stage.command.splitlines()]

    def hear(self, line: str) -> None:
        """Take one line, and tell what of it is for the user."""
        if _LEFT_OUT.fullmatch(line) or line in self._commands:
            return
        if error := _ERROR.fullmatch(line):
            self.errors.append(error[1])
        elif _UNCHANGED.fullmatch(line):
            self.unchanged = True
            self.tell("unchanged")
        elif _RESTORED.fullmatch(line):
            self.tell("made before with the same inputs: restored from the cache")
        else:
            self.tell(readable(line))

    @property
    def busy(self) -> bool:
        """Whether DVC gave up because another DVC command was at work."""
        return any(_BUSY.search(error) for error in self.errors)

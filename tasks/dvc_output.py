"""The output of `dvc repro`: lines of the stage, lines to leave out, and errors."""

import re
from dataclasses import dataclass, field

from espalier import dvc_messages
from espalier.outcomes import Outcome
from espalier.tasks.graph import Stage
from espalier.tasks.reporting import ReportLine, readable

_LAST_SENTENCE = re.compile(
    r"espalier: (?!warning: )(.*)"
)  # the stage's error: it is in the outcome


@dataclass
class DvcOutput:
    """The output of one `dvc repro` of one stage, line by line.

    Attributes:
        stage: the stage that is reproduced.
        report: receives the lines for the user.
        listener: receives every line of the stage.
        errors: messages of DVC's errors so far.
        unchanged: whether DVC found the stage unchanged.
        sentence: last sentence of the stage about its own end; empty if it printed none.
    """

    stage: Stage
    report: ReportLine
    listener: ReportLine | None = None
    errors: list[str] = field(default_factory=list)
    unchanged: bool = False
    sentence: str = ""
    _commands: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._commands = [f"> {command}" for command in self.stage.command.splitlines()]

    def on_line(self, line: str) -> None:
        """Process one line, and report it if it is for the user."""
        if self.listener:
            self.listener(line)
        if self._is_left_out(line):
            return
        if error := dvc_messages.ERROR.fullmatch(line):
            self.errors.append(error[1])
        elif dvc_messages.UNCHANGED.fullmatch(line):
            self.unchanged = True
            self.report("unchanged")
        elif dvc_messages.RESTORED.fullmatch(line):
            self.report("made before with the same inputs: restored from the cache")
        else:
            self.report(readable(line))

    @property
    def busy(self) -> bool:
        """Whether DVC gave up because another DVC command was running."""
        return any(dvc_messages.BUSY.search(error) for error in self.errors)

    @property
    def outcome(self) -> Outcome | None:
        """The end of the stage by its sentence and the exit status that DVC prints.

        It stands in for an outcome that could not be written; None without one of the two.
        """
        exits = [found for error in self.errors if (found := dvc_messages.EXITED.search(error))]
        return Outcome(int(exits[-1][1]), self.sentence) if exits and self.sentence else None

    def _is_left_out(self, line: str) -> bool:
        if line in self._commands:
            return True
        if sentence := _LAST_SENTENCE.fullmatch(line):
            self.sentence = sentence[1]
        left_out = (dvc_messages.PROGRESS, dvc_messages.BLOCKERS)
        return bool(sentence) or any(pattern.fullmatch(line) for pattern in left_out)

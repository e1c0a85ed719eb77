"""The chain of the audit: each line holds the SHA-256 of the line before, so that no line can be changed alone.

A line is a move as a JSON object. Its last column, `line_before`, is the SHA-256 of the former line,
and in line 1 that of the name of the registered model. A changed, removed or inserted line breaks
the chain at the next line. The last line has no successor: the store keeps its SHA-256 as a tag,
and git keeps the file.

Example of three lines, with shortened hashes; `sha256` of line 1 is `7d`, of line 2 `a3`:

| number | alias | to | line_before |
|---|---|---|---|
| 1 | champion | 3 | 41 |
| 2 | champion | 5 | 7d |
| 3 | champion | 3 | a3 |

If `to` of line 2 becomes 6, its hash is no longer `a3`, which line 3 expects.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import takewhile
from typing import Any

from espalier.registry.promotion.audit import Move, State

BEFORE = "line_before"
_NUMBERS = ("number", "when")
_OPTIONAL = ("former", "former_content")


@dataclass(frozen=True)
class Line:
    """A line of the file of the audit.

    Attributes:
        move: The move, with the state at its end.
        before: SHA-256 of the line before, in hexadecimal.
        text: The line, without its end.
    """

    move: Move
    before: str
    text: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the line, in hexadecimal."""
        return sha256(self.text)


def sha256(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def chain(name: str, moves: Iterable[Move]) -> list[Line]:
    """The lines of moves, each with the hash of the line before.

    Every checkout makes the same lines of the same moves, byte for byte.

    Args:
        name: Name of the registered model.
        moves: All moves from the first on, in order.
    """
    before = sha256(name)
    lines = []
    for move in moves:
        line = Line(move, before, json.dumps({**asdict(move), BEFORE: before}))
        lines.append(line)
        before = line.sha256
    return lines


def finished(moves: Sequence[Move]) -> list[Move]:
    """The moves before the first open one: their lines do not change any more."""
    return list(takewhile(lambda move: move.state.is_final, moves))


def parse(text: str) -> Line:
    """Read a line.

    Raises:
        ValueError: If it is no line of an audit; the message names the column.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("lists in lists") from None
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}")
    names = {field.name for field in fields(Move)} | {BEFORE}
    different = sorted(names ^ set(content))
    if different:
        raise ValueError(f"the column `{different[0][:50]}` absent or unknown")
    for name, value in content.items():
        if not _is_valid(name, value):
            raise ValueError(f"{str(value)[:50]!r} in the column `{name}`")
    before = content.pop(BEFORE)
    return Line(Move(**content | {"state": State(content["state"])}), before, text)


def broken_link(name: str, lines: Sequence[Line]) -> int | None:
    """The number of the first line that does not hold the hash of the line before; None without one."""
    before = sha256(name)
    for number, line in enumerate(lines, start=1):
        if line.before != before:
            return number
        before = line.sha256
    return None


def _is_valid(name: str, value: Any) -> bool:
    """Whether a value has the type of its column."""
    if name in _NUMBERS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "state":
        return value in [state.value for state in State if state.is_final]
    return isinstance(value, str) or (value is None and name in _OPTIONAL)

"""The audit as files of the project, for git: `mlflow/audit/NAME.jsonl`, its aliases, and the gate reports.

| file | content |
|---|---|
| `NAME.jsonl` | a line for each finished move, only ever longer, see `audit_chain` |
| `NAME.aliases.json` | each alias with its version, entry and content, as of the last change |
| `NAME/gates-HASH.json` | the gate report of each move, by its SHA-256 |

A file is replaced by a complete one at once: after a crash a line is there or not. Processes of one
machine take turns by a lock.
"""

import contextlib
import errno
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from espalier import files
from espalier.errors import BadInput, TryAgain
from espalier.locks import hold_in_turn
from espalier.paths import AUDIT, STATE
from espalier.registry.connection import Store
from espalier.registry.connection.store import DATABASE
from espalier.registry.promotion.audit import Move
from espalier.registry.promotion.audit_chain import Line, parse, sha256
from espalier.settings.limits import JSON_BYTES

_LOCK = Path(STATE, "locks", "audit.lock")
_LOCK_SECONDS = 60.0  # writing takes milliseconds
_LONGEST_NAME = 150  # characters of a file name, of the 255 that file systems accept
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LASTING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
_GATES = "gates"  # stem of the files of gate reports


@dataclass(frozen=True)
class AuditFile:
    """The files of the audit of one registered model.

    Attributes:
        home: The project that holds them.
        name: Name of the registered model.
        path: Path of the file with the lines.
    """

    home: Path
    name: str
    path: Path

    @classmethod
    def of(cls, store: Store, name: str) -> "AuditFile":
        """The files of a registered model.

        They lie in the project of the store. A registered model in a store that is not the project's own has
        the address of the store in its file name.
        """
        file_name = _file_name(name, _address(store))
        return cls(store.home, name, store.home / AUDIT / f"{file_name}.jsonl")

    @property
    def shown(self) -> str:
        """The path of the lines, for messages."""
        return self.path.relative_to(self.home).as_posix()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the files against other processes of this machine.

        Raises:
            TryAgain: If another process holds it for too long.
        """
        lock = self.home / _LOCK
        with hold_in_turn(lock, lock, _LOCK_SECONDS):
            yield

    def read(self) -> list[Line]:
        """The lines; none if there is no file.

        Raises:
            BadInput: If a line is not one of an audit; the message names its number.
        """
        return _read_lines(self.path, self.shown, self.next_step)

    @property
    def next_step(self) -> str:
        """The next step if the file was altered."""
        return f"Take {self.shown} from git, or move it away: the next promotion writes it again from the store."

    def write(self, lines: Sequence[Line]) -> None:
        """Replace the file by one with these lines, the former ones first. The caller holds the lock."""
        for draft_of_a_crash in self.path.parent.glob(f".{_escaped(self.path.name)}.*"):
            draft_of_a_crash.unlink()
        _write(self.path, "".join(f"{line.text}\n" for line in lines))

    def take_over_former(self, lines: Sequence[Line]) -> None:
        """Rename the files that a former version wrote without the address, if they have lines of the store.

        The caller holds the lock.

        Args:
            lines: The finished moves that were made in the store.
        """
        former = replace(self, path=self.path.with_name(f"{_file_name(self.name)}.jsonl"))
        if former.path == self.path or self.path.exists() or not lines:
            return
        filed = [line.text for line in former.read()]
        if not filed or filed != [line.text for line in lines[: len(filed)]]:
            return  # the lines of another store, whose name they bear rightly
        # the lines come last: after a crash the next command goes on
        _rename(former._reports, self._reports)
        _rename(former._aliases_path, self._aliases_path)
        _rename(former.path, self.path)

    def report(self, hashed: str) -> str | None:
        """The gate report with a SHA-256; None if it is not there, or was changed."""
        path = self._report_path(hashed)
        if not _SHA256.fullmatch(hashed) or not path.is_file():
            return None
        text = path.read_text(encoding="utf-8", errors="replace")
        return text if sha256(text) == hashed else None

    def keep_report(self, text: str) -> None:
        """Write a gate report under its SHA-256."""
        _write(self._report_path(sha256(text)), text)

    def aliases(self) -> dict[str, dict[str, str]]:
        """Version, entry and content of each alias, as of the last change; empty without the file.

        Raises:
            BadInput: If the file is damaged.
        """
        if not self._aliases_path.exists():
            return {}
        content = files.read_json_object(self._aliases_path)
        for alias, columns in content.items():
            texts = isinstance(columns, dict) and [
                columns.get(key) for key in ("version", "entry", "content")
            ]
            if not texts or not all(isinstance(text, str) for text in texts):
                raise BadInput(
                    f"Expected {self._aliases_path} to hold version, entry and content of each alias; found "
                    f"another value for {alias[:50]!a}. Take it from git, or delete it."
                )
        return content

    def write_aliases(self, aliases: dict[str, dict[str, str]]) -> None:
        """Write the aliases, if they changed."""
        text = json.dumps(aliases, indent=2, sort_keys=True) + "\n"
        path = self._aliases_path
        if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
            _write(path, text)

    @property
    def _aliases_path(self) -> Path:
        return self.path.with_name(f"{self.path.name.removesuffix('.jsonl')}.aliases.json")

    @property
    def _reports(self) -> Path:
        """The folder of the gate reports."""
        return self.path.with_name(self.path.name.removesuffix(".jsonl"))

    def _report_path(self, hashed: str) -> Path:
        return self._reports / f"{_GATES}-{hashed[:32]}.json"


def _write(path: Path, text: str) -> None:
    with _writable(path):
        files.write(path, text)


def _rename(path: Path, new: Path) -> None:
    if path.exists() and not new.exists():
        with _writable(new):
            path.rename(new)


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Write a file of the audit.

    Raises:
        BadInput: If the folder is not one, or cannot be written by this user.
        TryAgain: If the disk is full, or failed.
    """
    try:
        yield
    except OSError as error:
        kind = BadInput if error.errno in _LASTING else TryAgain
        raise kind(f"Expected {path} to be writable; found: {error.strerror}.") from None


def read_moves(path: Path) -> list[Move]:
    """The moves in a file of the audit.

    Raises:
        BadInput: If a line is not one of an audit; the message names its number.
    """
    return [line.move for line in _read_lines(path, str(path), "Take it from git.")]


def _read_lines(path: Path, shown: str, next_step: str) -> list[Line]:
    if not path.exists():
        return []
    lines = []
    for number, raw in enumerate(files.read_bounded(path, JSON_BYTES).splitlines(), start=1):
        try:
            lines.append(parse(raw.decode()))
        except ValueError as error:
            raise BadInput(
                f"Expected line {number} of {shown} to be a move of the audit; found {error}: the file was "
                f"altered. {next_step}"
            ) from None
    return lines


def _file_name(name: str, address: str = "") -> str:
    """The name of a registered model as a file name, with the address of its store."""
    plain = quote(name, safe=" ")
    if address:
        plain += f"@{re.sub(r'[^A-Za-z0-9.-]+', '_', address)}"
    if len(plain) > _LONGEST_NAME:
        return f"{plain[: _LONGEST_NAME - 17]}-{sha256(plain)[:16]}"
    return plain


def _address(store: Store) -> str:
    """The address of a store in file names; empty if it is the own one of the project that holds the files."""
    of_another_project = store.home != store.root and store.database == store.home / DATABASE
    if store.is_own or of_another_project:
        return ""
    return store.shown.partition("://")[2].strip("/")


def _escaped(name: str) -> str:
    """A file name as a pattern that matches itself alone."""
    return re.sub(r"([*?[])", r"[\1]", name)

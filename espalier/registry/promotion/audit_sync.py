"""The audit in the store and in the file of the project: comparison, and lines of the store into the file.

The store decides what happens now: it numbers the moves and holds the aliases. The file decides what
happened: its chain shows every change, and it outlasts the store. Where the two disagree about a
line, no alias with gates moves until they agree again:

| found | next step |
|---|---|
| the file was altered | take it from git, or move it away: it is written again from the store |
| the store was altered | `espalier restore` writes the audit in the store again from the file |
| the store lacks the last lines | `espalier register` restores them: the store was lost, or is an older copy |
| the file lacks the last lines | the next promotion, rollback or registration writes them |
"""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from espalier.errors import BadInput, EspalierError, Notice, reason_of
from espalier.registry.promotion.audit import REPORT, Audit, Move, State, StoredLine
from espalier.registry.promotion.audit_chain import Line, broken_link, chain, finished, sha256
from espalier.registry.promotion.audit_file import AuditFile
from espalier.registry.versions import Registry, quoted


def sync_audit(registry: Registry) -> None:
    """Write the finished moves of the store that the file lacks to the file, and the aliases as they are.

    Raises:
        BadInput: If file and store disagree, or the store lacks lines of the file.
        TryAgain: If another process holds the lock of the file.
    """
    file = AuditFile.of(registry.store, registry.name)
    with file.locked():
        lines = Audit(registry.client, registry.name).lines()
        file.take_over_former(_made_here(registry, lines))
        filed = file.read()
        problem = find_problem(registry, file, filed, lines) or _lacking(
            registry, file, filed, lines
        )
        if problem:
            raise BadInput(problem)
        chained = chain(registry.name, finished([line.recorded for line in lines]))
        if len(chained) > len(filed):
            _keep_reports(registry, file, lines[len(filed) : len(chained)])
            file.write(chained)
        _seal(registry, lines, chained)
        _write_aliases(registry, file)


def note_moves(registry: Registry) -> None:
    """Write the finished moves to the file after a move; a failure is a warning, since the alias has moved."""
    try:
        sync_audit(registry)
    except (EspalierError, OSError) as error:
        path = AuditFile.of(registry.store, registry.name).path
        warnings.warn(
            f"Expected the audit of {registry.name} to be written to {path}; found: {reason_of(error)}. "
            "The store has the move; the next promotion or registration writes it to the file.",
            Notice,
            stacklevel=3,
        )


def check_audit(registry: Registry) -> str:
    """The first disagreement of file and store, in a sentence; empty if they agree. Nothing is written.

    Raises:
        BadInput: If a line of the file is not one of an audit.
    """
    file = AuditFile.of(registry.store, registry.name)
    lines, filed = Audit(registry.client, registry.name).lines(), file.read()
    return find_problem(registry, file, filed, lines) or _lacking(registry, file, filed, lines)


def moved_past_audit(registry: Registry) -> list[str]:
    """A sentence for each alias that is not at the version of its last finished move."""
    last = {}
    for line in Audit(registry.client, registry.name).lines():
        if line.recorded.state is State.DONE:
            last[line.move.alias] = line.move.to
    found = registry.client.search_registered_models(f"name = {quoted(registry.name)}")
    aliases = {name: str(version) for name, version in found[0].aliases.items()} if found else {}
    return [
        f"Expected {registry.name}@{alias} to be at version {version or 'that was lost'}, to which it was moved last; "
        f"found {aliases.get(alias, 'none')}: it was moved past the audit."
        for alias, version in last.items()
        if aliases.get(alias) != version
    ]


def find_problem(
    registry: Registry, file: AuditFile, filed: Sequence[Line], lines: Sequence[StoredLine]
) -> str:
    """The first alteration of the file or the store, in a sentence; empty without one.

    A store that lacks the last lines of the file is not an alteration.
    """
    return (
        _misnumbered(file, filed)
        or _removed(registry, file, lines)
        or _differing(registry, file, filed, lines)
        or _broken(file, filed)
        or _unsealed(registry, file, lines)
    )


def missing_lines(filed: Sequence[Line], lines: Sequence[StoredLine]) -> list[Line]:
    """The last lines of the file, which the store lacks."""
    last = lines[-1].recorded.number if lines else 0
    return [line for line in filed if line.move.number > last]


def _misnumbered(file: AuditFile, filed: Sequence[Line]) -> str:
    """A line of the file whose number is not its place."""
    for place, line in enumerate(filed, start=1):
        if line.move.number != place:
            kind = "removed" if line.move.number > place else "inserted"
            return (
                f"Expected `number` of line {place} of {file.shown} to be {place}; found "
                f"{line.move.number}: a line was {kind}. {file.next_step}"
            )
    return ""


def _removed(registry: Registry, file: AuditFile, lines: Sequence[StoredLine]) -> str:
    """A number that the store skips."""
    for place, line in enumerate(lines, start=1):
        if line.recorded.number != place:
            return (
                f"Expected line {place} of {registry.name}.audit in {registry.store.shown}; found that it "
                f"was removed. {_rewrite_step(file)}"
            )
    return ""


def _differing(
    registry: Registry, file: AuditFile, filed: Sequence[Line], lines: Sequence[StoredLine]
) -> str:
    """The first column of a line in which file and store differ."""
    chained = chain(registry.name, [line.recorded for line in lines])
    for own, theirs, stored in zip(filed, chained, lines, strict=False):
        name = _first_difference(own.move, theirs.move)
        if not name and own.text != theirs.text:
            return (
                f"Expected line {own.move.number} of {file.shown} to be as it was written; found other "
                f"characters or another `line_before`: the file was altered. {file.next_step}"
            )
        if not name:
            continue
        ours, found = asdict(own.move)[name], asdict(theirs.move)[name]
        return (
            f"Expected `{name}` of line {own.move.number} to be the same in {file.shown} and in "
            f"{registry.store.shown}; found {ours!r} and {found!r}: "
            f"{_culprit(registry, file, filed, own, stored)}"
        )
    return ""


def _culprit(
    registry: Registry, file: AuditFile, filed: Sequence[Line], own: Line, stored: StoredLine
) -> str:
    """The altered one of file and store, by the chain and the hash in the store, and the next step."""
    if stored.seal == own.sha256:
        return f"{registry.store.shown} was altered. {_rewrite_step(file)}"
    is_last = own is filed[-1]
    if broken_link(file.name, filed) is not None or (stored.seal and is_last):
        return f"{file.shown} was altered. {file.next_step}"
    return f"one of the two was altered. {file.next_step} {_rewrite_step(file)}"


def _broken(file: AuditFile, filed: Sequence[Line]) -> str:
    """A line of the file that does not hold the hash of the line before."""
    number = broken_link(file.name, filed)
    if number is None:
        return ""
    before = f"of line {number - 1}" if number > 1 else f"of the name {file.name!r}"
    return (
        f"Expected `line_before` of line {number} of {file.shown} to be the SHA-256 {before}; found "
        f"another: the file was altered. {file.next_step}"
    )


def _unsealed(registry: Registry, file: AuditFile, lines: Sequence[StoredLine]) -> str:
    """A line of the store that is not as it was when its hash was recorded."""
    chained = chain(registry.name, [line.recorded for line in lines])
    for stored, line in zip(lines, chained, strict=True):
        if stored.seal and stored.seal != line.sha256:
            return (
                f"Expected line {line.move.number} of {registry.name}.audit in {registry.store.shown} to "
                f"have the SHA-256 {stored.seal[:12]!a} with which it is tagged; found "
                f"{line.sha256[:12]}: the store was altered. {_rewrite_step(file)}"
            )
    return ""


def _lacking(
    registry: Registry, file: AuditFile, filed: Sequence[Line], lines: Sequence[StoredLine]
) -> str:
    """The last lines of the file that the store lacks."""
    missing = missing_lines(filed, lines)
    if not missing:
        return ""
    at = f" --at {registry.store.shown}" if registry.store.is_explicit else ""
    return (
        f"Expected {registry.store.shown} to hold the {len(filed)} moves in {file.shown}; found "
        f"{len(lines)}: the store was lost or is an older copy. `espalier register` restores them; for another "
        f"registered model than the project's, `espalier restore --in {registry.name}{at}`."
    )


def _first_difference(own: Move, theirs: Move) -> str:
    ours, found = asdict(own), asdict(theirs)
    return next((name for name, value in ours.items() if value != found[name]), "")


def _rewrite_step(file: AuditFile) -> str:
    """The next step if the store was altered."""
    return f"`espalier restore` writes the audit in the store again from {file.shown}."


def _made_here(registry: Registry, lines: Sequence[StoredLine]) -> list[Line]:
    """The finished moves that were made in this store, and not restored from the file of another one."""
    moves = [line.recorded for line in lines if line.recorded == line.move]
    return chain(registry.name, finished(moves))


def _keep_reports(registry: Registry, file: AuditFile, lines: Sequence[StoredLine]) -> None:
    """Write the gate reports of moves beside the lines, where the store still has them."""
    for line in lines:
        hashed = line.recorded.report
        if not hashed or file.report(hashed) is not None:
            continue
        text = download_report(registry, line.move.run)
        if text is not None and sha256(text) == hashed:
            file.keep_report(text)


def download_report(registry: Registry, run: str) -> str | None:
    """The gate report of a run; None if the store lacks it."""
    from mlflow.exceptions import MlflowException

    try:
        listed = [one.path for one in registry.client.list_artifacts(run)]
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    if REPORT not in listed:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(registry.client.download_artifacts(run, REPORT, folder))
        return path.read_text(encoding="utf-8", errors="replace")


def _seal(registry: Registry, lines: Sequence[StoredLine], chained: Sequence[Line]) -> None:
    """Tag lines of the store with their SHA-256, by which a change of the last line is found."""
    audit = Audit(registry.client, registry.name)
    for stored, line in zip(lines, chained, strict=False):
        if not stored.seal:
            audit.seal(line.move.number, line.sha256)


def _write_aliases(registry: Registry, file: AuditFile) -> None:
    """Write version, entry and content of each alias."""
    client, name = registry.client, registry.name
    registered = client.search_registered_models(f"name = {quoted(name)}")
    aliases = {}
    for alias, version in dict(registered[0].aliases if registered else {}).items():
        tags = client.get_model_version(name, str(version)).tags
        aliases[alias] = {
            "version": str(version),
            "entry": tags.get("espalier.entry", ""),
            "content": tags.get("espalier.content", ""),
        }
    if aliases:
        file.write_aliases(aliases)

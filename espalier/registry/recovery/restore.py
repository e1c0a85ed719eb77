"""Restoration: the audit and the aliases of a lost store, from the files of the project.

A store is restored in four steps. After a crash in any of them, a repetition completes the restoration:

1. Make versions of the contents that the audit and the aliases name, from folders at hand, see
   `contents`. A content that the registered model has already is not made again.
2. Set the aliases: those with gates to the content of their last finished move, `previous` to the
   content before it, others to the content that they had.
3. Log a run with the gate report of each move, from the file.
4. Append the lines to the audit. The columns are those of the file; the numbers of versions and runs
   in this store are in further tags.

Versions get other numbers than in the lost store: contents are compared by their hashes. A content
whose files are gone is not restored, and is named.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from espalier.errors import BadInput
from espalier.registry.promotion import Audit, AuditFile, Move, State, sync_audit
from espalier.registry.promotion.alias_moves import PREVIOUS, version_of_alias
from espalier.registry.promotion.audit import REPORT, StoredLine
from espalier.registry.promotion.audit_sync import find_problem, missing_lines
from espalier.registry.promotion.split_uses import tags_of_report
from espalier.registry.recovery.contents import find_model
from espalier.registry.recovery.turns import take_turns
from espalier.registry.versions import Registry, add_version, quoted

_RESTORED = "espalier.restored"  # tag of a registered model whose aliases are restored


@dataclass(frozen=True)
class Restored:
    """The parts of a registered model that were restored.

    Attributes:
        lines: Number of lines of the audit.
        aliases: Version of each alias that was set.
        lost: For each alias that was not restored, the reason.
    """

    lines: int = 0
    aliases: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def lines_lacking(registry: Registry) -> int:
    """The number of lines of the file that the store lacks.

    Raises:
        BadInput: If the file is damaged.
    """
    filed = AuditFile.of(registry.store, registry.name).read()
    return len(missing_lines(filed, Audit(registry.client, registry.name).lines()))


def restore_audit(registry: Registry, *, anew: bool = False) -> Restored:
    """Restore the lines of the audit that the store lacks, and the aliases; then write the files.

    Args:
        registry: The registered model, with its experiment.
        anew: Whether to replace the whole audit of the store by that of the file.

    Raises:
        BadInput: If file and store disagree about a line, and the audit is not made `anew`.
        TryAgain: If another machine is restoring the same registered model.
    """
    restored = Restored()
    if anew or _is_new(registry) or lines_lacking(registry):
        with take_turns(registry):
            restored = _restore(registry, anew=anew)
        registry.client.set_registered_model_tag(registry.name, _RESTORED, "true")
    sync_audit(registry)
    return restored


def _restore(registry: Registry, *, anew: bool) -> Restored:
    file = AuditFile.of(registry.store, registry.name)
    with file.locked():
        filed, lines = file.read(), Audit(registry.client, registry.name).lines()
        problem = find_problem(registry, file, filed, [] if anew else lines)
        if problem:
            raise BadInput(problem)
        missing = [line.move for line in (filed if anew else missing_lines(filed, lines))]
        wanted = _wanted(missing, _absent_aliases(registry, file, anew=anew))
        versions = _find_versions(registry, file, missing, wanted)
        restored = _set_aliases(registry, wanted, versions, [] if anew else lines)
        later = lines[len(filed) :] if anew else []
        if anew and lines:
            registry.client.delete_registered_model(f"{registry.name}.audit")
        _append(registry, file, missing, versions)
        _append_again(registry, later, len(filed))
    return replace(restored, lines=len(missing))


def _is_new(registry: Registry) -> bool:
    """Whether the aliases of the registered model were never compared with those in the files."""
    return _RESTORED not in registry.client.get_registered_model(registry.name).tags


def _absent_aliases(
    registry: Registry, file: AuditFile, *, anew: bool
) -> dict[str, dict[str, str]]:
    """Aliases by the file that the registered model lacks, if it was lost."""
    if not anew and not _is_new(registry):
        return {}
    present = registry.client.get_registered_model(registry.name).aliases
    return {alias: columns for alias, columns in file.aliases().items() if alias not in present}


def _wanted(missing: Sequence[Move], known: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The content that each alias had.

    Example: the missing moves are champion a -> b and champion b -> c; the file of the aliases says champion c
    and student b. The result is champion c, previous b, student b.

    Args:
        missing: Lines of the audit that the store lacks.
        known: Further aliases by the file; the audit has priority.
    """
    wanted = {alias: columns["content"] for alias, columns in known.items()}
    for move in missing:
        if move.state is State.DONE:
            wanted[move.alias] = move.content
            if move.former_content and move.former_content != move.content:
                wanted[PREVIOUS] = move.former_content
    return {alias: content for alias, content in wanted.items() if content}


def _find_versions(
    registry: Registry, file: AuditFile, moves: Sequence[Move], wanted: Mapping[str, str]
) -> dict[str, str]:
    """The newest version of each content; made from a folder at hand where there is none."""
    entries = {columns["content"]: columns["entry"] for columns in file.aliases().values()}
    needed = set(wanted.values())
    for move in moves:
        if move.state is State.DONE:
            needed |= {move.content, move.former_content or ""} - {""}
            entries[move.content] = move.entry or entries.get(move.content, "")
    versions = _registered_versions(registry, needed)
    for content in sorted(needed - set(versions)):
        version = _make_version(registry, content, entries.get(content, ""))
        if version:
            versions[content] = version
    return versions


def _registered_versions(registry: Registry, contents: Collection[str]) -> dict[str, str]:
    versions: dict[str, str] = {}
    token = None
    while True:
        page = registry.client.search_model_versions(
            f"name = {quoted(registry.name)}", page_token=token
        )
        for one in page:
            content = one.tags.get("espalier.content")
            if content in contents and int(one.version) > int(versions.get(content, 0)):
                versions[content] = str(one.version)
        token = page.token
        if not token:
            return versions


def _make_version(registry: Registry, content: str, entry: str) -> str | None:
    """Make a version of a content from a folder at hand; None without one."""
    model = find_model(registry.store, content, entry)
    if model is None:
        return None
    try:
        return add_version(registry, model, {}).version
    except BadInput:  # such as a model of inputs of another shape than the prepared ones
        return None


def _set_aliases(
    registry: Registry,
    wanted: Mapping[str, str],
    versions: Mapping[str, str],
    lines: Sequence[StoredLine],
) -> Restored:
    """Set aliases to the versions of their contents; an alias that was moved past the audit is kept."""
    known = {
        line.recorded.alias: line.move.to for line in lines if line.recorded.state is State.DONE
    }
    moved: dict[str, str] = {}
    lost = []
    for alias, content in sorted(wanted.items()):
        current = version_of_alias(registry, alias)
        if content not in versions:
            lost.append(f"{alias}: no folder holds its content {content[:12]} any more")
        elif current is None or (current != versions[content] and _may_move(alias, current, known)):
            registry.client.set_registered_model_alias(registry.name, alias, versions[content])
            moved[alias] = versions[content]
    return Restored(0, moved, tuple(lost))


def _may_move(alias: str, current: str, known: Mapping[str, str]) -> bool:
    """Whether an alias is at the version to which the audit of the store moved it last."""
    return alias == PREVIOUS or known.get(alias) == current


def _append(
    registry: Registry, file: AuditFile, moves: Sequence[Move], versions: Mapping[str, str]
) -> None:
    """Append lines of the file to the audit in the store."""
    runs: dict[str, str] = {}
    for move in moves:
        here = replace(
            move,
            former=versions.get(move.former_content or "") if move.former else None,
            to=versions.get(move.content, ""),
            run=_run_of(registry, file, move, runs),
        )
        _append_line(registry, move, here)


def _append_again(registry: Registry, lines: Sequence[StoredLine], last: int) -> None:
    """Append the lines of the store that the file did not have, when the audit was made anew."""
    for number, line in enumerate(lines, start=last + 1):
        _append_line(registry, replace(line.recorded, number=number), line.move)


def _append_line(registry: Registry, move: Move, here: Move) -> None:
    audit = Audit(registry.client, registry.name)
    number = audit.restore_line(move, here)
    if number != move.number:
        registry.client.delete_model_version(audit.model_name, str(number))
        raise BadInput(
            f"Expected the next line of {audit.model_name} in {registry.store.shown} to be {move.number}; "
            f"found {number}: lines were removed. `espalier restore` writes the audit there again."
        )


def _run_of(registry: Registry, file: AuditFile, move: Move, runs: dict[str, str]) -> str:
    """A run in this store for a run of the lost one, with the gate report; runs without a report share one.

    It has the tags by which the uses of a test split are counted.
    """
    report = file.report(move.report)
    key = move.run if report is not None else ""
    if key not in runs:
        client = registry.client
        tags = {"espalier.restored.run": key, **tags_of_report(report or "")}
        created = client.create_run(registry.experiment, run_name="restored audit", tags=tags)
        runs[key] = str(created.info.run_id)
        if report is not None:
            client.log_text(runs[key], report, REPORT)
        client.set_terminated(runs[key], "FINISHED")
    return runs[key]

"""Gate evidence: the proof that the current version of an alias passed its gates, required before it is exported.

An alias proves nothing by itself, because every MLflow client can set it. The proof is a chain of
records, and each link is checked:

1. The last finished move of the alias in the audit went to this version.
2. The content hash in that move is the hash of the files that the version has now.
3. The run of that move holds `gates.json`, a gate report of the same alias.
4. In that report a candidate with exactly this content passed, as a whole and at every gate.
5. The SHA-256 of that report is in the move, unless the move is of a former version of Espalier.

Example: `dev.digits@champion` is at version 3, whose files hash to `c4`.

| record | content | link holds |
|---|---|---|
| audit, line 5 | champion -> 3, content `c4`, run `r9`, done | 1 and 2 |
| run `r9`, gates.json | alias champion; `student`: content `c4`, passed | 3 and 4 |

If the alias is set to version 2 by hand, link 1 breaks: line 5 went to version 3. If the
files of version 3 are replaced, link 2 breaks: they hash to something else than `c4`.
"""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from espalier.errors import BadInput
from espalier.gates import Figures, Verdict
from espalier.registry.promotion.audit import REPORT, Audit, Move, State
from espalier.registry.promotion.audit_chain import sha256
from espalier.registry.promotion.audit_sync import download_report
from espalier.registry.versions import Registry

_LONGEST_REASON = 300  # characters


@dataclass(frozen=True)
class GateEvidence:
    """The gate report by which a version got its alias.

    Attributes:
        run: MLflow's id of the run that holds the report.
        text: The report as it is stored.
        figures: Values that the gates were judged by.
    """

    run: str
    text: str
    figures: Figures


@dataclass(frozen=True)
class _ReportedCandidate:
    content: str
    passed: bool
    verdicts: tuple[Verdict, ...]
    figures: Figures

    def proves(self, content: str) -> bool:
        """Whether this candidate has a content and passed every gate."""
        passed_all = all(verdict.passed for verdict in self.verdicts)
        return self.content == content and self.passed and passed_all


@dataclass(frozen=True)
class _Report:
    alias: str
    candidates: dict[str, _ReportedCandidate]


_REPORT = TypeAdapter(_Report)


def find_gate_evidence(registry: Registry, alias: str, version: str, content: str) -> GateEvidence:
    """Find the report by which a version got its alias.

    Args:
        registry: The registered model.
        alias: Name of the alias.
        version: Current version of the alias.
        content: Content hash of the files that the version has now.

    Raises:
        BadInput: If a link of the chain is broken; the message says which.
    """
    move = _last_finished_move(registry, alias, version)
    if move.content != content:
        raise BadInput(
            f"Expected version {version} of {registry.name} to hold {move.content[:12]}, "
            f"which was promoted; found {content[:12]}."
        )
    address = f"{registry.name}@{alias}"
    text = _read_report(registry, move, address)
    report = _parse_report(text, move.run)
    proofs = [one for one in report.candidates.values() if one.proves(content)]
    if report.alias != alias or not proofs:
        raise BadInput(
            f"Expected {REPORT} of run {move.run}, by which {address} was moved, to say that "
            f"{content[:12]} passed the gates of {alias!r}; found that it does not."
        )
    if move.report and sha256(text) != move.report:
        raise BadInput(
            f"Expected {REPORT} of run {move.run} to have the SHA-256 {move.report[:12]!a} of line "
            f"{move.number} of the audit; found {sha256(text)[:12]}: it was altered."
        )
    return GateEvidence(move.run, text, proofs[0].figures)


def _last_finished_move(registry: Registry, alias: str, version: str) -> Move:
    moves = Audit(registry.client, registry.name).moves(alias)
    finished = [move for move in moves if move.state is State.DONE]
    if finished and finished[-1].to == version:
        return finished[-1]
    if moves and moves[-1].state is State.OPEN:
        found = (
            f"a move to version {moves[-1].to} that is not finished: if its process crashed, "
            "`espalier promote` completes it"
        )
    elif finished:
        found = f"that the last one went to version {finished[-1].to}"
    else:
        found = "no move. Run `espalier promote` first"
    raise BadInput(
        f"Expected a finished move of {registry.name}@{alias} to version {version} in the audit; "
        f"found {found}."
    )


def _read_report(registry: Registry, move: Move, address: str) -> str:
    """The gate report in the run of a move.

    Raises:
        BadInput: If the run has none.
    """
    text = download_report(registry, move.run)
    if text is None:
        raise BadInput(
            f"Expected the run {move.run}, by which {address} was moved, to hold {REPORT}; found none."
        )
    return text


def _parse_report(text: str, run: str) -> _Report:
    try:
        return _REPORT.validate_json(text)
    except ValidationError as error:
        raise BadInput(
            f"Expected {REPORT} of run {run} to be a gate report; found: {_one_line(error)}"
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON]

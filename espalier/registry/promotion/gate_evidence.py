"""Why a version may be taken elsewhere: a finished move of the audit brought its alias there, by gates it passed."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from espalier.errors import BadInput
from espalier.gates import Figures, Verdict
from espalier.registry.promotion.audit import Audit, Move, State
from espalier.registry.versions.registry import Registry

REPORT = "gates.json"  # in the run of a promotion


@dataclass(frozen=True)
class Approval:
    """The gate report that let a version bear its alias.

    Attributes:
        run: The run that holds it.
        text: The report as it lies there.
        figures: What was found of the version.
    """

    run: str
    text: str
    figures: Figures


@dataclass(frozen=True)
class _Candidate:
    content: str
    passed: bool
    verdicts: tuple[Verdict, ...]
    figures: Figures


@dataclass(frozen=True)
class _Report:
    alias: str
    candidates: dict[str, _Candidate]


_REPORT = TypeAdapter(_Report)


def find_approval(registry: Registry, alias: str, version: str, content: str) -> Approval:
    """The report by which a version bears an alias.

    Args:
        registry: Where.
        alias: Which.
        version: Where it stands.
        content: The hash of the files that this version was found to hold.

    Raises:
        BadInput: If the last finished move of the alias did not go there with this content, or the run of that move
            holds no report in which exactly this content passed; it says which is missing.
    """
    placed = f"{registry.name}@{alias}"
    moves = [move for move in Audit(registry.client, registry.name).moves() if move.alias == alias]
    done = [move for move in moves if move.state is State.DONE]
    if not done or done[-1].to != version:
        raise BadInput(
            f"{placed} should stand at version {version} by a finished move of the audit. Found {_found(moves, done)}."
        )
    if done[-1].content != content:
        raise BadInput(
            f"Version {version} of {registry.name} should hold {done[-1].content[:12]}, which was promoted. "
            f"Found {content[:12]}."
        )
    text = _read(registry, done[-1], placed)
    try:
        report = _REPORT.validate_json(text)
    except ValidationError as error:
        raise BadInput(
            f"{REPORT} of run {done[-1].run} should be a gate report. Found: {_line(error)}"
        ) from None
    passed = [
        one
        for one in report.candidates.values()
        if one.content == content and one.passed and all(verdict.passed for verdict in one.verdicts)
    ]
    if report.alias != alias or not passed:
        raise BadInput(
            f"{REPORT} of run {done[-1].run}, by which {placed} was moved, should say that {content[:12]} passed the "
            f"gates of {alias!r}. Found that it does not."
        )
    return Approval(done[-1].run, text, passed[0].figures)


def _found(moves: list[Move], done: list[Move]) -> str:
    if moves and moves[-1].state is State.OPEN:
        return f"one to version {moves[-1].to} that is not finished"
    return (
        f"that the last one went to version {done[-1].to}"
        if done
        else "none: `espalier promote` first"
    )


def _read(registry: Registry, move: Move, placed: str) -> str:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(registry.client.download_artifacts(move.run, REPORT, folder)).read_text()
        except (MlflowException, OSError) as error:
            raise BadInput(
                f"The run {move.run}, by which {placed} was moved, should hold {REPORT}. Found: {_line(error)}"
            ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]

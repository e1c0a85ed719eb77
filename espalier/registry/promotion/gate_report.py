"""The gate report: for each candidate and gate the bound, the value found, and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from espalier.gates import Figures, SplitUse, Verdict
from espalier.judging import LEVEL
from espalier.registry.promotion.errors import RefusedError

_WIDE = 1000  # columns of a console that is not a terminal: no line is wrapped


@dataclass(frozen=True)
class Candidate:
    """A judged model.

    Attributes:
        entry: Name of the model in `params.yaml`.
        content: Content hash of the files that were judged.
        figures: Values that the gates compare with their bounds.
        verdicts: One verdict for each gate.
        version: Number of its version; empty if the registered model does not have it yet.
        level: Level of the intervals whose bounds were compared with the margins of drops.
    """

    entry: str
    content: str
    figures: Figures
    verdicts: Sequence[Verdict]
    version: str = ""
    level: float = LEVEL

    @property
    def passed(self) -> bool:
        """Whether the model passes every gate."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def refusals(self) -> list[Verdict]:
        """The verdicts of the gates that the model does not pass."""
        return [verdict for verdict in self.verdicts if not verdict.passed]


def as_json(
    alias: str,
    candidates: Sequence[Candidate],
    chosen: str | None,
    use: SplitUse,
    correction: str = "none",
) -> dict[str, Any]:
    """The report as it is stored in the run; the content hash binds it to the files that were judged.

    Args:
        alias: Name of the alias.
        candidates: All judged models.
        chosen: Entry of the chosen model; None if no model passes.
        use: Use of the test split.
        correction: Correction for the number of candidates.
    """
    return {
        "alias": alias,
        "chosen": chosen,
        "test_split": asdict(use),
        "correction": correction,
        "candidates": {candidate.entry: _candidate_json(candidate) for candidate in candidates},
    }


def print_report(candidates: Sequence[Candidate], chosen: str | None) -> None:
    """Print every gate of the chosen candidate, and of the others the gates that they do not pass."""
    columns = ("candidate", "gate", "should be", "found", "verdict")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for candidate in candidates:
        is_chosen = candidate.entry == chosen
        shown = candidate.verdicts if is_chosen else candidate.refusals
        name = candidate.entry
        for verdict in shown:
            result = Text("passed") if verdict.passed else Text("refused", style="red")
            should = f"{verdict.should}{_level(candidate, verdict)}"
            table.add_row(name, verdict.gate, should, verdict.found, result)
            name = ""  # only in the first row of a candidate
        if not shown:
            table.add_row(name, "all", "", "", "passed")
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)


def refusal(address: str, version: str | None, candidates: Sequence[Candidate]) -> RefusedError:
    """The error for an alias that no candidate may get, with the failed gates of each in one sentence.

    Args:
        address: The alias with the name of the registered model, such as `digits@champion`.
        version: Version of the alias, which does not change; None if the alias does not exist.
        candidates: All judged models.
    """
    reasons = []
    for candidate in candidates:
        failed = ", ".join(f"{verdict.gate} {verdict.found}" for verdict in candidate.refusals)
        reasons.append(f"{candidate.entry}: {failed}")
    stays = f"It stays at version {version}" if version else "It stays unset"
    return RefusedError(
        f"Expected a model that passes every gate of {address}; found none "
        f"({'; '.join(reasons)}). {stays}."
    )


def _level(candidate: Candidate, verdict: Verdict) -> str:
    """The level of the bound of a drop, where it is another than the usual one."""
    is_drop = "drop" in verdict.gate
    return f" at {candidate.level:.2%}" if is_drop and candidate.level != LEVEL else ""


def _candidate_json(candidate: Candidate) -> dict[str, Any]:
    figures = asdict(candidate.figures)
    return {
        "content": candidate.content,
        "passed": candidate.passed,
        "level": candidate.level,
        "verdicts": [asdict(verdict) for verdict in candidate.verdicts],
        "figures": {key: _json_value(value) for key, value in figures.items()},
    }


def _json_value(value: Any) -> Any:
    """A value that JSON can express: NaN and infinity become words."""
    if isinstance(value, dict):
        return {key: _json_value(one) for key, one in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value

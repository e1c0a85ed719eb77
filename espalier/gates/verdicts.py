"""Whether a model passes its gates, gate by gate, and which of those that pass is chosen."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from espalier.gates.policy import Gates


@dataclass(frozen=True)
class Figures:
    """What was found of a candidate on the current test data.

    NaN stands for what could not be found.

    Attributes:
        examples: Test examples it was judged on.
        accuracy: The part it answers rightly.
        drop: Upper bound of the accuracy lost against the teacher.
        champion_drop: Upper bound of that lost against the bearer of the alias; none if nobody
            bears it.
        worst_class_drop: Upper bound of what the class that lost most has lost against the teacher.
        bytes: Of the deployed file.
        bytes_ratio: To the teacher's.
        milliseconds: At batch 1.
        latency_ratio: Upper end of the band of the ratio to the teacher's.
        memory: Bytes in use while it answers.
        torch_agreement: Part of the examples to which the torch network gives the same answer.
        finite: Whether every logit is a number.
        data: The hash of the data it was made from.
        current_data: The hash of the data it was judged on.
        intact: What is wrong with the version's files, or nothing.
    """

    examples: int
    accuracy: float
    drop: float
    champion_drop: float | None
    worst_class_drop: float
    bytes: int
    bytes_ratio: float
    milliseconds: float
    latency_ratio: float
    memory: float
    torch_agreement: float
    finite: bool
    data: str
    current_data: str
    intact: str = ""

    @classmethod
    def of(
        cls, row: Mapping[str, Any], teacher: Mapping[str, Any], *, data: str, current_data: str
    ) -> Self:
        """What the evaluation found, by its rows of a candidate and of the teacher.

        Nobody bears the alias, and the answers of the torch network are not known, until somebody
        says otherwise.
        """
        slowest = float(row["speedup_1_low"])
        return cls(
            examples=int(row["examples"]),
            accuracy=float(row["accuracy"]),
            drop=float(row["drop_high"]),
            champion_drop=None,
            worst_class_drop=float(row["worst_class_drop_high"]),
            bytes=int(row["bytes"]),
            bytes_ratio=float(row["bytes"]) / float(teacher["bytes"]),
            milliseconds=float(row["latency_1_ms"]),
            latency_ratio=1 / slowest if slowest > 0 else math.inf,
            memory=float(row["memory_1"]),
            torch_agreement=math.nan,
            finite=int(row["not_finite"]) == 0,
            data=data,
            current_data=current_data,
        )


@dataclass(frozen=True)
class Verdict:
    """One row of a gate report: the gate, what should be, what was found, and whether that passes."""

    gate: str
    should: str
    found: str
    passed: bool


def judge(gates: Gates, figures: Figures) -> list[Verdict]:
    """All verdicts on one candidate: those that no policy can switch off, then those of the policy."""
    verdicts = [
        Verdict(
            "files",
            "those that were judged",
            figures.intact or "those that were judged",
            not figures.intact,
        ),
        Verdict(
            "finite",
            "every logit a number",
            "so it is" if figures.finite else "NaN or infinity",
            figures.finite,
        ),
        Verdict(
            "data",
            figures.current_data[:12],
            figures.data[:12] or "unknown",
            figures.data == figures.current_data,
        ),
    ]
    at_least = {"examples": figures.examples, "torch_agreement": figures.torch_agreement}
    for gate, bound in gates.model_dump().items():
        if bound is None:
            continue
        if gate in at_least:
            verdicts.append(_bounded(gate, float(at_least[gate]), float(bound), least=True))
        elif gate == "champion_drop" and figures.champion_drop is None:
            verdicts.append(
                Verdict(gate, f"at most {_shown(gate, bound)}", "nobody bears the alias", True)
            )
        else:
            verdicts.append(
                _bounded(gate, float(getattr(figures, gate)), float(bound), least=False)
            )
    return verdicts


def choose(rule: str, passed: Mapping[str, Figures]) -> str:
    """The candidate that a rule prefers among those that passed; the first of equals, by name."""
    orders = {
        "smallest": lambda one: (one.bytes, one.milliseconds, -one.accuracy),
        "fastest": lambda one: (one.milliseconds, one.bytes, -one.accuracy),
        "most_accurate": lambda one: (-one.accuracy, one.bytes, one.milliseconds),
    }
    return min(sorted(passed), key=lambda name: orders[rule](passed[name]))


def _bounded(gate: str, found: float, bound: float, *, least: bool) -> Verdict:
    passed = math.isfinite(found) and (found >= bound if least else found <= bound)
    should = f"at {'least' if least else 'most'} {_shown(gate, bound)}"
    return Verdict(
        gate,
        should,
        _shown(gate, found) if math.isfinite(found) else "could not be evaluated",
        passed,
    )


def _shown(gate: str, value: float) -> str:
    if gate.endswith("drop"):
        return f"{100 * value:.2f} points"
    if gate in ("examples", "bytes", "memory"):
        return f"{value:,.0f}"
    return f"{value:.4g}"

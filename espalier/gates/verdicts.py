"""Verdicts: whether a candidate passes each gate, and the choice among passing candidates."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field

from espalier.errors import BadInput
from espalier.gates.policy import Gates

_AT_LEAST = ("examples", "torch_agreement")  # gates whose bound is the smallest value
_DROPS = ("drop", "champion_drop", "worst_class_drop")  # gates whose bound is a margin
_HEAD_DROP = ".drop_high"  # ending of the columns of the drops of heads
_COUNTS = ("examples", "bytes", "memory")  # gates whose values are whole numbers
_REASONS = {("worst_class_drop", 1.0): ": a class is lost, or has no test examples"}
_ALL = "all classes of the data"
_ONE_DEVICE = "one device of all latencies"
_REMEDY = (
    "`espalier evaluate` on one device, as `fleet: {bench: [evaluate]}` does, or name the new device "
    "as the gate `device`"
)


@dataclass(frozen=True)
class Figures:
    """The figures of a candidate on the current test data. NaN stands for an unknown one.

    Attributes:
        examples: number of test examples.
        score: mean score.
        drop: upper bound of the mean score lost against the teacher.
        champion_drop: upper bound of the mean score lost against the version that the alias points
            to; None if there is none.
        worst_class_drop: upper bound of the loss against the teacher in the class that lost most.
        bytes: size of the deployed file.
        bytes_ratio: ratio of that size to the teacher's.
        milliseconds: latency at batch 1.
        latency_ratio: upper end of the noise band of the ratio of that latency to the teacher's.
        memory: bytes in use while the deployed file runs.
        torch_agreement: fraction of examples to which the torch network gives the same answer.
        finite: whether every output is finite.
        data: hash of the data that the candidate was made from.
        current_data: hash of the data that it was judged on.
        intact: damage of the version's files; empty if there is none.
        head_drops: upper bound of the score lost against the teacher in each head, by its name.
        classes: classes that the candidate answers, in words; empty for all classes of the data.
        current_classes: those of the version that the alias points to; None if there is none.
        device: device of the candidate's latencies; empty if it is unknown.
        teacher_device: device of the teacher's latencies; empty if it is unknown.
        current_device: device of the latencies that the store has of the version that the alias
            points to; empty if it is unknown, or there is no version.
        rolled_back: who moved the alias back from this content, when, and the way on; empty for a content
            from which it was not rolled back.
    """

    examples: int
    score: Annotated[
        float, Field(validation_alias=AliasChoices("score", "accuracy"))
    ]  # once stored so
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
    head_drops: Mapping[str, float] = field(default_factory=dict)
    classes: str = ""
    current_classes: str | None = None
    device: str = ""
    teacher_device: str = ""
    current_device: str = ""
    rolled_back: str = ""

    @classmethod
    def of(
        cls,
        row: Mapping[str, Any],
        teacher: Mapping[str, Any],
        *,
        headline: str,
        data: str,
        current_data: str,
    ) -> Self:
        """The figures in the evaluation's rows of a candidate and of the teacher.

        The alias points to no version and the agreement with torch is unknown; the caller replaces
        what belongs to them once it is known.

        Args:
            row: row of the candidate.
            teacher: row of the teacher.
            headline: name of the column of the mean score.
            data: hash of the data that the candidate was made from.
            current_data: hash of the data that it was judged on.
        """
        lowest_speedup = float(row["speedup_1_low"])
        return cls(
            examples=int(row["examples"]),
            score=float(row[headline]),
            drop=float(row["drop_high"]),
            champion_drop=None,
            worst_class_drop=float(row["worst_class_drop_high"]),
            bytes=int(row["bytes"]),
            bytes_ratio=float(row["bytes"]) / float(teacher["bytes"]),
            milliseconds=float(row["latency_1_ms"]),
            latency_ratio=1 / lowest_speedup if lowest_speedup > 0 else math.inf,
            memory=float(row["memory_1"]),
            torch_agreement=math.nan,
            finite=int(row["not_finite"]) == 0,
            data=data,
            current_data=current_data,
            head_drops=_head_drops(row),
            device=_device(row),
            teacher_device=_device(teacher),
        )


def _head_drops(row: Mapping[str, Any]) -> dict[str, float]:
    """The upper bound of the drop of each head, from the columns `NAME.drop_high`."""
    heads = (column.removesuffix(_HEAD_DROP) for column in row if column.endswith(_HEAD_DROP))
    return {head: float(row[f"{head}{_HEAD_DROP}"]) for head in heads}


def _device(row: Mapping[str, Any]) -> str:
    """The device of the latencies of a row; empty if it names none."""
    device = row.get("device")
    return device if isinstance(device, str) else ""


@dataclass(frozen=True)
class Verdict:
    """One row of a gate report.

    Attributes:
        gate: name of the gate.
        should: the bound, in words.
        found: the value, in words.
        passed: whether the value satisfies the bound.
    """

    gate: str
    should: str
    found: str
    passed: bool


def judge(gates: Gates, figures: Figures) -> list[Verdict]:
    """The verdicts on a candidate: first the gates that always hold, then those of the policy."""
    bounds = {gate: bound for gate, bound in gates if bound is not None}
    heads, device = bounds.pop("head_drops", {}), bounds.pop("device", "")
    return [
        *_unconditional(figures),
        *_same_device(device, figures, compared="latency_ratio" in bounds),
        *(_verdict(gate, float(bound), figures) for gate, bound in bounds.items()),
        *(_verdict_of_head(head, bound, figures) for head, bound in heads.items()),
    ]


def choose(rule: str, passed: Mapping[str, Figures]) -> str:
    """The candidate that a rule prefers; between equal ones the first by name.

    Raises:
        BadInput: if the latencies that decide are of several devices.
    """
    devices = sorted({one.device for one in passed.values()})
    if rule == "fastest" and len(devices) > 1:
        raise BadInput(
            f"Expected {_ONE_DEVICE} to choose the fastest model; found {' and '.join(devices)}: "
            f"{_REMEDY}."
        )
    key = _ORDERS[rule]
    return min(sorted(passed), key=lambda name: key(passed[name]))


_ORDERS: dict[str, Callable[[Figures], tuple[float, float, float]]] = {
    "smallest": lambda one: (one.bytes, one.milliseconds, -one.score),
    "fastest": lambda one: (one.milliseconds, one.bytes, -one.score),
    "most_accurate": lambda one: (-one.score, one.bytes, one.milliseconds),
}


def _unconditional(figures: Figures) -> list[Verdict]:
    """The gates that no policy can switch off."""
    judged = "the judged files"
    same_data = figures.data == figures.current_data
    return [
        *_same_classes(figures),
        Verdict("files", judged, figures.intact or judged, not figures.intact),
        Verdict(
            "finite",
            "every output finite",
            "every output finite" if figures.finite else "NaN or infinity",
            figures.finite,
        ),
        Verdict("data", figures.current_data[:12], figures.data[:12] or "unknown", same_data),
        *_not_rolled_back(figures),
    ]


def _not_rolled_back(figures: Figures) -> list[Verdict]:
    """The verdict on a content from which the alias was rolled back; none on another."""
    if not figures.rolled_back:
        return []
    found = f"rolled back {figures.rolled_back}"
    return [Verdict("rollback", "never rolled back from", found, passed=False)]


def _same_classes(figures: Figures) -> list[Verdict]:
    """The verdict on classes; none where candidate and current version answer all classes."""
    own, current = figures.classes, figures.current_classes
    if not own and not current:
        return []
    should = _ALL if current == "" else current or own
    return [Verdict("classes", should, own or _ALL, passed=current in (None, own))]


def _same_device(wanted: str, figures: Figures, *, compared: bool) -> list[Verdict]:
    """The verdict on the devices of latencies; none where no gate needs it, or all are unknown.

    Args:
        wanted: device that the policy names; empty for that of the current version.
        figures: figures of the candidate.
        compared: whether a gate compares latencies.
    """
    known = _other_devices(wanted, figures)
    should = wanted or _ONE_DEVICE
    if not (wanted or compared) or not (known or figures.device):
        return []
    other = next((whose for whose, device in known.items() if device != figures.device), None)
    if other is None:
        return [Verdict("device", should, should, passed=True)]
    found = f"{figures.device or 'unknown'}, but {other} is {known[other]}: {_REMEDY}"
    return [Verdict("device", should, found, passed=False)]


def _other_devices(wanted: str, figures: Figures) -> dict[str, str]:
    """The known devices that a candidate's must equal, by whose they are."""
    others = {
        "the policy's device": wanted,
        "the current version's": "" if wanted else figures.current_device,
        "the teacher's": figures.teacher_device,
    }
    return {whose: device for whose, device in others.items() if device}


def _verdict(gate: str, bound: float, figures: Figures) -> Verdict:
    """The verdict of one gate of the policy."""
    least = gate in _AT_LEAST
    should = f"at {'least' if least else 'most'} {_text(gate, bound)}"
    value: float | None = getattr(figures, gate)
    if value is None:  # only `champion_drop`
        return Verdict(gate, should, "no version has the alias", passed=True)
    if not math.isfinite(value):
        return Verdict(gate, should, "could not be evaluated", passed=False)
    found = f"{_text(gate, value)}{_REASONS.get((gate, value), '')}"
    return Verdict(gate, should, found, _satisfies(gate, value, bound))


def _verdict_of_head(head: str, bound: float, figures: Figures) -> Verdict:
    """The verdict of the gate of a head."""
    gate, should = f"head_drops.{head}", f"at most {_text('drop', bound)}"
    value = figures.head_drops.get(head)
    if value is None:
        known = ", ".join(figures.head_drops) or "no heads"
        return Verdict(gate, should, f"no such head; {known}", passed=False)
    if not math.isfinite(value):
        return Verdict(gate, should, "could not be evaluated", passed=False)
    return Verdict(gate, should, _text("drop", value), _satisfies("drop", value, bound))


def _satisfies(gate: str, value: float, bound: float) -> bool:
    if gate in _DROPS:
        from espalier.judging import (
            non_inferior,
        )  # here: reading a policy needs neither scipy nor torch

        return non_inferior(value, bound)
    return value >= bound if gate in _AT_LEAST else value <= bound


def _text(gate: str, value: float) -> str:
    """A value in the unit of its gate."""
    if gate in _DROPS:
        return f"{100 * value:.2f} points"
    return f"{value:,.0f}" if gate in _COUNTS else f"{value:.4g}"

"""The change by a cut, in one line: sizes and latency before and after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from espalier.measures.comparison import Comparison
from espalier.quantity import quantity


@dataclass(frozen=True)
class Footprint:
    """The sizes of a network and of its file.

    Attributes:
        macs: multiply-accumulates for one example.
        parameters: number of learned parameters.
        bytes: size of the deployed file.
    """

    macs: float
    parameters: float
    bytes: float

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, float]) -> Self:
        """The sizes in the content of a `metrics.json`."""
        return cls(metrics["macs"], metrics["parameters"], metrics["bytes"])


def describe_change(before: Footprint, after: Footprint, latency: Comparison | None) -> str:
    """Sizes and latency before and after, with their ratios.

    Args:
        before: sizes of the parent.
        after: sizes of the child.
        latency: latency of both at batch 1; None if it was not measured.

    Example:
        `10.4 M -> 5.17 M multiply-accumulates (0.50), 1.2 M -> 835 k parameters (0.70), 4.8 M ->
        3.35 M bytes (0.70), 0.278 -> 0.156 ms at batch 1 (1.78 times as fast)`
    """
    sizes = (
        (before.macs, after.macs, "multiply-accumulates"),
        (before.parameters, after.parameters, "parameters"),
        (before.bytes, after.bytes, "bytes"),
    )
    parts = [
        f"{quantity(old).strip()} -> {quantity(new).strip()} {noun} ({new / old:.2f})"
        for old, new, noun in sizes
    ]
    if latency:
        parts.append(
            f"{latency.parent:.3g} -> {latency.child:.3g} ms at batch 1 ({latency.speed:.2f} times "
            "as fast)"
        )
    return ", ".join(parts)

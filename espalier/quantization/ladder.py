"""What to do about a quantized network that lost too much: the next measure, and the next, until one is enough."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from espalier.quantization.ranges import CALIBRATIONS
from espalier.quantization.robust import Ranges
from espalier.quantization.sensitivity import sensitivity
from espalier.quantization.static import Observed, insert


@dataclass(frozen=True)
class LadderStep:
    """One measure, and what it gave.

    Attributes:
        measure: `calibration`, `float` or `aware`.
        detail: The calibration; the layers in floating point; or the calibration that training
            began with.
        score: mean score on validation.
        model: The quantized file.
    """

    measure: str
    detail: str | tuple[str, ...]
    score: float
    model: onnx.ModelProto

    def record(self) -> dict[str, Any]:
        """What is kept of it in `architecture.json`."""
        return {"measure": self.measure, "detail": self.detail, "accuracy": self.score}


@dataclass(frozen=True)
class Ladder:
    """The measures in their order, each tried only if all before it were not enough.

    Attributes:
        observed: The file to quantize.
        calibration: The first that is tried.
        judge: computes the mean score of a quantized file on validation.
        enough: mean score that ends the search.
        images: (N, C, H, W) uint8, on which the sensitivity of layers is measured.
        layers: How many layers may stay in floating point.
        aware: Trains for integers, beginning with a calibration; none, if that is not wanted.
        per_channel: As in `quantize`.
        reduce_range: Likewise.
        threads: Of the runtime.
    """

    observed: Observed
    calibration: str
    judge: Callable[[onnx.ModelProto], float]
    enough: float
    images: np.ndarray
    layers: int
    aware: Callable[[str], onnx.ModelProto] | None
    per_channel: bool = True
    reduce_range: bool = True
    threads: int = 1

    def climb(self) -> tuple[list[LadderStep], LadderStep]:
        """Try one measure after another until one is enough.

        Returns:
            All that were tried, in their order, and the one to take: the best.
        """
        tried = [self._static(self.calibration)]
        if tried[0].score < self.enough:
            tried += [self._static(name) for name in CALIBRATIONS if name != self.calibration]
        best = max(tried, key=lambda rung: rung.score)
        for measure in (self._floats, self._trained):
            for rung in measure(str(best.detail)) if best.score < self.enough else ():
                tried.append(rung)
                if rung.score >= self.enough:
                    return tried, rung
        return tried, max(tried, key=lambda rung: rung.score)

    def _static(self, calibration: str) -> LadderStep:
        model = self._insert(self.observed.ranges(calibration))
        return LadderStep("calibration", calibration, self.judge(model), model)

    def _floats(self, calibration: str) -> Iterator[LadderStep]:
        if not self.layers:
            return
        ranges = self.observed.ranges(calibration)
        options = {"per_channel": self.per_channel, "reduce_range": self.reduce_range}
        worst = list(
            sensitivity(self.observed, ranges, self.images, **options, threads=self.threads)
        )
        for count in range(1, min(self.layers, len(worst)) + 1):
            model = self._insert(ranges, tuple(worst[:count]))
            yield LadderStep("float", tuple(worst[:count]), self.judge(model), model)

    def _trained(self, calibration: str) -> Iterator[LadderStep]:
        if self.aware:
            model = self.aware(calibration)
            yield LadderStep("aware", calibration, self.judge(model), model)

    def _insert(self, ranges: Ranges, floats: tuple[str, ...] = ()) -> onnx.ModelProto:
        return insert(
            self.observed.model,
            ranges,
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            floats=floats,
        )

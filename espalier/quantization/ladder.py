"""The ladder: steps against the loss of a quantized network, one after another until one is enough."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import onnx

from espalier.errors import BadInput, Notice
from espalier.export.onnx import Disagreement
from espalier.quantization.ranges import CALIBRATIONS
from espalier.quantization.robust import Ranges
from espalier.quantization.sensitivity import sensitivity
from espalier.quantization.static import Observed, insert


@dataclass(frozen=True)
class LadderStep:
    """One step and its result.

    Attributes:
        measure: `calibration`, `float` or `aware`.
        detail: the calibration; the layers in floating point; or the calibration with which training
            started.
        score: mean score on validation.
        model: quantized file.
    """

    measure: str
    detail: str | tuple[str, ...]
    score: float
    model: onnx.ModelProto

    def record(self) -> dict[str, Any]:
        """Its entry in `architecture.json`."""
        return {"measure": self.measure, "detail": self.detail, "accuracy": self.score}


@dataclass(frozen=True)
class Ladder:
    """The steps in their order. Each is tried only if the steps before it were not enough.

    Attributes:
        observed: file to quantize.
        calibration: first calibration that is tried.
        judge: computes the mean score of a quantized file on validation.
        enough: mean score that ends the search.
        images: stored inputs (N, ...) on which the sensitivity of layers is measured.
        layers: largest number of layers that may stay in floating point.
        aware: quantization-aware training that starts with a calibration; None to leave it out.
        per_channel: as in `quantize`.
        reduce_range: as in `quantize`.
        threads: number of threads of the runtime.
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

    def run(self) -> tuple[list[LadderStep], LadderStep]:
        """Try one step after another until one is enough.

        Returns:
            All steps that were tried, in their order, and the best one.
        """
        tried = list(self._steps())
        return tried, max(tried, key=lambda step: step.score)

    def _steps(self) -> Iterator[LadderStep]:
        """The steps, up to the first that is enough; all calibrations are tried together."""
        calibrated = [self._static(self.calibration)]
        if calibrated[0].score < self.enough:
            others = [name for name in CALIBRATIONS if name != self.calibration]
            calibrated += [self._static(name) for name in others]
        yield from calibrated
        best = max(calibrated, key=lambda step: step.score)
        if best.score >= self.enough:
            return
        calibration = str(best.detail)
        for step in chain(self._floats(calibration), self._trained(calibration)):
            yield step
            if step.score >= self.enough:
                return

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
        if not self.aware:
            return
        try:
            model = self.aware(calibration)
        except (BadInput, Disagreement) as error:  # the steps before are made, and one is the best
            warnings.warn(
                f"The last step of `ladder`, `aware`, is left out: {error}", Notice, stacklevel=2
            )
            return
        yield LadderStep("aware", calibration, self.judge(model), model)

    def _insert(self, ranges: Ranges, floats: tuple[str, ...] = ()) -> onnx.ModelProto:
        return insert(
            self.observed.model,
            ranges,
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            floats=floats,
        )

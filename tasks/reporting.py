"""Lines for the user: in Prefect's log of the run and, in `espalier run`, on the terminal."""

import json
import logging
from collections.abc import Callable
from typing import Any

from espalier.settings.tasks import HEADLINES, Headline

ReportLine = Callable[[str], None]

MARK = (
    "espalier_line"  # attribute of a log record that distinguishes these lines from Prefect's own
)
_EPOCH = {"epoch", "epochs", "loss", "seconds"}


def line_reporter(logger: "logging.Logger | logging.LoggerAdapter[Any]") -> ReportLine:
    """A function that reports one line through a run's logger."""

    def report(line: str) -> None:
        logger.info("%s", line, extra={MARK: True})

    return report


def readable(line: str) -> str:
    """A line of a stage in words; a training writes one JSON object per epoch.

    Example:
        >>> readable('{"epoch": 3, "loss": 0.123456}')
        'epoch 3  loss 0.1235'
    """
    if not line.startswith("{"):
        return line
    try:
        values = json.loads(line)
    except ValueError:
        return line
    scores = [one for one in HEADLINES.values() if one.name in values]
    if values.keys() >= _EPOCH and scores:
        return _epoch(values, scores[0])
    scalars = {key: value for key, value in values.items() if not isinstance(value, dict | list)}
    return "  ".join(f"{key} {_short(value)}" for key, value in scalars.items())


def _epoch(values: dict[str, Any], headline: Headline) -> str:
    score = headline.factor * values[headline.name]
    width = len(str(values["epochs"]))
    return (
        f"epoch {values['epoch']:>{width}}/{values['epochs']}  loss {values['loss']:7.4f}  "
        f"validation {score:6.2f} {headline.unit}  {values['seconds']:5.2f} s"
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

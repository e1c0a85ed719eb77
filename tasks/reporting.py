"""Lines for whoever watches: they go to Prefect's log of the run and, in `espalier run`, to the terminal."""

import json
import logging
from collections.abc import Callable
from typing import Any

Tell = Callable[[str], None]

MARK = "told"  # the attribute of a log record by which the terminal knows these lines among Prefect's own


def teller(logger: "logging.Logger | logging.LoggerAdapter[Any]") -> Tell:
    """A function that tells one line through a run's logger."""

    def tell(line: str) -> None:
        logger.info("%s", line, extra={MARK: True})

    return tell


def readable(line: str) -> str:
    """A line of a stage as a person reads it: its JSON objects, of which a training writes one per epoch, in words."""
    if not line.startswith("{"):
        return line
    try:
        values = json.loads(line)
    except ValueError:
        return line
    if {"epoch", "epochs", "loss", "accuracy", "seconds"} <= values.keys():
        width = len(str(values["epochs"]))
        return (
            f"epoch {values['epoch']:>{width}}/{values['epochs']}  loss {values['loss']:7.4f}  "
            f"validation {100 * values['accuracy']:6.2f} %  {values['seconds']:5.2f} s"
        )
    return "  ".join(
        f"{key} {_short(value)}"
        for key, value in values.items()
        if not isinstance(value, (dict, list))
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

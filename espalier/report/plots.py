"""The figures once more, as files that `dvc metrics`, `dvc exp show` and `dvc plots` read: one per model."""

import math
import shutil
from pathlib import Path

import pandas as pd

from espalier import files
from espalier.paths import CURVES, FIGURES, HISTORY, MODELS

_FIGURES = ("accuracy", "drop_high", "worst_class_drop_high", "forgotten", "bytes", "speedup_1")


def write_plots(root: Path, reports: Path, table: pd.DataFrame) -> None:
    """Write each model's main figures as JSON, and the history of its training, if it has any, beside them.

    Args:
        root: The project.
        reports: Where to write: a draft of `reports/`.
        table: The content of `models.csv`, by model.
    """
    (reports / CURVES).mkdir()
    for name, row in table[list(_FIGURES)].to_dict("index").items():
        known = {figure: value for figure, value in row.items() if not math.isnan(value)}
        files.write_json(reports / FIGURES / f"{name}.json", known)
        history = root / MODELS / str(name) / HISTORY
        if history.is_file() and len(pd.read_csv(history)):
            shutil.copyfile(history, reports / CURVES / f"{name}.csv")

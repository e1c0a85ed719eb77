"""Metrics and histories as the files that `dvc metrics`, `dvc exp` and `dvc plots` read."""

import math
from pathlib import Path

import pandas as pd

from espalier import files
from espalier.paths import CURVES, FIGURES, HISTORY, MODELS
from espalier.prediction import Headline
from espalier.records import read_csv

_METRICS = (
    "drop_high",
    "worst_class_drop_high",
    "forgotten",
    "bytes",
    "speedup_1",
)


def write_dvc_files(root: Path, reports: Path, table: pd.DataFrame, headline: Headline) -> None:
    """Write one JSON file of main metrics and one CSV of the training history for each model.

    The history gets a column `score`, the column of the headline, so that one `dvc.yaml` plots every
    task.

    Args:
        root: root folder of the project.
        reports: folder to write to: `reports/`, or a draft of it.
        table: content of `models.csv`, indexed by model.
        headline: headline of the task.
    """
    (reports / CURVES).mkdir()
    for name, row in table[[headline.name, *_METRICS]].to_dict("index").items():
        known = {metric: value for metric, value in row.items() if not math.isnan(value)}
        files.write_json(reports / FIGURES / f"{name}.json", known)
        history = root / MODELS / str(name) / HISTORY
        rows = read_csv(history, (headline.name,)) if history.is_file() else []
        if rows:
            epochs = pd.DataFrame(rows)
            curve = epochs.assign(score=epochs[headline.name])
            curve.to_csv(reports / CURVES / f"{name}.csv", index=False)

"""What the page is made from: the reports of an evaluation, and the folders of the models it judged."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from espalier import files
from espalier.data.names import TEST
from espalier.data.prepared import Dataset, StreamedSplit, open_split, read_dataset
from espalier.paths import (
    ACTIVITY,
    CLASSES,
    CONDITIONS,
    HISTORY,
    LINEAGE,
    LOOKS,
    METRICS,
    MODELS,
    PREDICTIONS,
    PREPARED,
    SENSITIVITY,
    TABLE,
)
from espalier.report.understanding.saliency_maps import Looks

Row = dict[str, Any]
_WORDS = frozenset({"model", "parent", "by", "class", "worst_class", "device", "layer", "layers"})


@dataclass(frozen=True)
class Contents:
    """All that the sections of the page tell.

    Attributes:
        root: The project.
        reports: Where the tables lie: `reports/`, or a draft of it.
        dataset: What is known of the data.
        rows: Of `models.csv`, by model, parents first.
        classes: Of `classes.csv`.
        conditions: On what, when and under what load it was measured.
        looks: Where models look in some test images, if they were asked.
        sensitivity: Of `sensitivity.csv`; nothing if it was not measured.
        activity: Of `activity.csv`, likewise.
    """

    root: Path
    reports: Path
    dataset: Dataset
    rows: dict[str, Row]
    classes: list[Row]
    conditions: dict[str, Any]
    looks: Looks | None
    sensitivity: list[Row]
    activity: list[Row]

    @classmethod
    def of(cls, root: Path, reports: Path) -> "Contents":
        """Read the tables.

        Raises:
            BadInput: If the data set or the conditions are missing or damaged.
        """
        rows = {row["model"]: row for row in _rows(reports / TABLE)}
        conditions = files.read_json(reports / CONDITIONS)
        return cls(
            root,
            reports,
            read_dataset(root / PREPARED),
            rows,
            _rows(reports / CLASSES),
            conditions,
            Looks.read(reports / LOOKS),
            *(
                _rows(path) if (path := reports / name).is_file() else []
                for name in (SENSITIVITY, ACTIVITY)
            ),
        )

    @cached_property
    def test(self) -> StreamedSplit:
        """The test images: opening them takes reading them all, to compare their hash."""
        return open_split(self.root / PREPARED, TEST)

    def history(self, name: str) -> pd.DataFrame:
        """The epochs of a model's training, numbered from 1; no row if there was none."""
        path = self.root / MODELS / name / HISTORY
        history = pd.read_csv(path) if path.is_file() else pd.DataFrame()
        if (
            len(history) and not history["epoch"].is_monotonic_increasing
        ):  # several trainings, one after the other
            history["epoch"] = range(1, len(history) + 1)
        return history

    def lineage(self, name: str) -> dict[str, Any]:
        """Where a model comes from."""
        return self._json(name, LINEAGE)

    def metrics(self, name: str) -> dict[str, Any]:
        """What was known of a model when it was made."""
        return self._json(name, METRICS)

    def lost(self, name: str) -> pd.DataFrame:
        """A model's answers to the test images that it has forgotten, and the logits behind them."""
        path = self.reports / PREDICTIONS / f"{name}.parquet"
        return pd.read_parquet(
            path, filters=[("forgotten", "==", True)]
        )  # logits of all images may be gigabytes

    def _json(self, name: str, file: str) -> dict[str, Any]:
        path = self.root / MODELS / name / file
        content: dict[str, Any] = files.read_json(path) if path.is_file() else {}
        return content


def _rows(path: Path) -> list[Row]:
    """The rows of a table; a model or a class may have a name that pandas takes for nothing."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in table.columns.difference([*_WORDS, "front"]):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    if "front" in table:
        table["front"] = table["front"] == "True"
    rows: list[Row] = table.to_dict("records")  # type: ignore[assignment]
    return rows

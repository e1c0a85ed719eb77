"""The data of the page: the tables of an evaluation, and the folders of the models it measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from espalier import records
from espalier.data.names import TEST
from espalier.data.prepared import Dataset, Split, read_dataset, read_split
from espalier.models.folder import concepts_of
from espalier.paths import (
    ACTIVITY,
    ARCHITECTURE,
    CLASSES,
    CONDITIONS,
    HISTORY,
    LINEAGE,
    METRICS,
    MODELS,
    PREDICTIONS,
    PREPARED,
    SALIENCY,
    SENSITIVITY,
    SURROGATES,
    TABLE,
)
from espalier.prediction import CLASSIFICATION, NO_ANSWER, Task
from espalier.quantity import number
from espalier.reading import reading
from espalier.report.page.pictures import reduced
from espalier.report.understanding.saliency import SaliencyMaps
from espalier.report.understanding.surrogates import Surrogates

Row = dict[str, Any]
"""A row of a table by its columns. Columns of the task's headline are called `score`, `score_low`, ..."""

_TEXT = frozenset(
    {"model", "parent", "by", "class", "worst_class", "device", "layer", "layers", "classes"}
)
_OF_CLASSES = (
    "model",
    "class",
    "examples",
    "drop",
    "drop_low",
    "drop_high",
    "lost",
    "gained",
)
_OF_SENSITIVITY = (
    "model",
    "layer",
    "layers",
    "removed",
    "units",
    "sets",
    "images",
    "{score}",
    "{score}_without",
    "loss",
    "loss_without",
)
_OF_ACTIVITY = ("model", "layer", "kept", "cut")
_FLAG = "front"  # column that holds True or False


@dataclass(frozen=True)
class Contents:
    """The data of all sections of the page.

    Attributes:
        root: root folder of the project.
        reports: folder of the tables: `reports/`, or a draft of it.
        dataset: description of the prepared data.
        rows: rows of `models.csv` by model, parents first.
        classes: rows of `classes.csv`.
        conditions: device, threads, load, versions and time of the measurement.
        saliency: saliency maps of some test images; None if none were computed.
        surrogates: decision trees that answer like the networks; None if none were fitted.
        sensitivity: rows of `sensitivity.csv`; empty if it was not measured.
        activity: rows of `activity.csv`; empty if it was not measured.
    """

    root: Path
    reports: Path
    dataset: Dataset
    rows: dict[str, Row]
    classes: list[Row]
    conditions: dict[str, Any]
    saliency: SaliencyMaps | None
    surrogates: Surrogates | None
    sensitivity: list[Row]
    activity: list[Row]

    @classmethod
    def read(cls, root: Path, reports: Path) -> "Contents":
        """Read the tables.

        Raises:
            BadInput: if the data set, the conditions or a table are missing or damaged.
        """
        dataset = read_dataset(root / PREPARED)
        headline = dataset.build_task().headline.name
        return cls(
            root=root,
            reports=reports,
            dataset=dataset,
            rows=_models(reports / TABLE, headline),
            classes=_rows(reports / CLASSES, headline, _OF_CLASSES),
            conditions=records.read_record(reports / CONDITIONS, records.ConditionsRecord),
            saliency=SaliencyMaps.read(reports / SALIENCY),
            surrogates=Surrogates.read(reports / SURROGATES),
            sensitivity=_optional_rows(reports / SENSITIVITY, headline, _OF_SENSITIVITY),
            activity=_optional_rows(reports / ACTIVITY, headline, _OF_ACTIVITY),
        )

    @cached_property
    def task(self) -> Task:
        """Task of the data."""
        return self.dataset.build_task()

    @property
    def comparable(self) -> dict[str, Row]:
        """Rows of the models that answer all classes of the data, as the teacher does."""
        return {name: row for name, row in self.rows.items() if not row.get("classes")}

    def classes_of(self, name: str) -> tuple[str, ...]:
        """Names of the outputs of a model."""
        path = self.root / MODELS / name / ARCHITECTURE
        concepts = concepts_of(path.parent) if path.is_file() else None
        return self.dataset.classes if concepts is None else tuple(concepts)

    @property
    def score(self) -> str:
        """Name of the score in words, such as `accuracy`."""
        return self.task.headline.title

    @cached_property
    def test(self) -> Split:
        """The test split; it is opened at the first use, since its hash is verified then."""
        return read_split(self.root / PREPARED, TEST)

    def display(self, example: int) -> Image.Image | str:
        """A test example: its picture, reduced to its size on the page, or its text."""
        stored = self.test.inputs[example].numpy()
        shown = self.dataset.input.display(stored, self.dataset.facts)
        return shown if isinstance(shown, str) else reduced(shown)

    def parts(self, example: int) -> list[str]:
        """The parts of a test example in words; empty for pictures."""
        stored = self.test.inputs[example].numpy()
        return self.dataset.input.parts(stored, self.dataset.facts)

    def spell(self, answer: float) -> str:
        """An answer, or a target, in words."""
        if self.task.name != CLASSIFICATION.name:
            return number(answer)
        return "no answer" if answer == NO_ANSWER else self.dataset.classes[int(answer)]

    def history(self, name: str) -> pd.DataFrame:
        """The epochs of a model's training, numbered from 1; empty if it was not trained."""
        path = self.root / MODELS / name / HISTORY
        rows = records.read_csv(path, ("epoch", self.task.headline.name)) if path.is_file() else []
        history: pd.DataFrame = pd.DataFrame(rows).apply(pd.to_numeric, errors="coerce")
        history = history.rename(columns={self.task.headline.name: "score"})
        if len(history) and not history["epoch"].is_monotonic_increasing:
            history["epoch"] = range(1, len(history) + 1)  # several trainings in one history
        return history

    def lineage(self, name: str) -> dict[str, Any]:
        """The content of a model's `lineage.json`; empty if there is none."""
        path = self.root / MODELS / name / LINEAGE
        return records.read_record(path, records.LineageRecord) if path.is_file() else {}

    def metrics(self, name: str) -> dict[str, Any]:
        """The content of a model's `metrics.json`; empty if there is none."""
        path = self.root / MODELS / name / METRICS
        return records.read_record(path, records.MetricsRecord) if path.is_file() else {}

    def forgotten(self, name: str) -> pd.DataFrame:
        """Predictions and logits of the test examples that a model has forgotten."""
        path = self.reports / PREDICTIONS / f"{name}.parquet"
        # filtered while reading: the logits of all examples may take gigabytes
        with reading(path, "predictions as `espalier evaluate` writes them"):
            found: pd.DataFrame = pd.read_parquet(path, filters=[("forgotten", "==", True)])
            return found


def _optional_rows(path: Path, headline: str, required: Sequence[str]) -> list[Row]:
    return _rows(path, headline, required) if path.is_file() else []


def _models(path: Path, headline: str) -> dict[str, Row]:
    """The rows of `models.csv` by model."""
    rows = _typed(records.read_models_table(path, headline), headline)
    return {row["model"]: row for row in rows}


def _rows(path: Path, headline: str, required: Sequence[str]) -> list[Row]:
    columns = [column.format(score=headline) for column in required]
    return _typed(records.read_csv(path, columns), headline)


def _typed(rows: list[dict[str, str]], headline: str) -> list[Row]:
    """The rows of a table with their numbers. Text stays text: a class may be called `nan`."""
    table = pd.DataFrame(rows, dtype=str)
    endings = ("", "_low", "_high", "_without")
    table = table.drop(columns="score", errors="ignore")  # a copy of the headline, for plots
    table = table.rename(columns={f"{headline}{ending}": f"score{ending}" for ending in endings})
    for column in table.columns.difference([*_TEXT, _FLAG]):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    if _FLAG in table:
        table[_FLAG] = table[_FLAG] == "True"
    typed: list[Row] = table.to_dict("records")  # type: ignore[assignment]
    return typed

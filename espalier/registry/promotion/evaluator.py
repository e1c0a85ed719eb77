"""The evaluator: values that the gates compare with their bounds, from the reports and from measurements made now."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import torch

from espalier import files
from espalier.data.prepared import Dataset, Split, data_hash, read_dataset, read_split
from espalier.errors import BadInput
from espalier.gates import Figures, Policy
from espalier.judging import compare
from espalier.models.folder import load, read_architecture
from espalier.params import Evaluation, Params
from espalier.paths import (
    CONDITIONS,
    DEPLOYED,
    LINEAGE,
    MANIFEST,
    MODELS,
    PREDICTIONS,
    PREPARED,
    REPORTS,
    TABLE,
    TEACHER,
)
from espalier.prediction import Task
from espalier.runtimes import runtime_named
from espalier.training.batches import Resident
from espalier.training.scoring import Inference


def answer(folder: Path, test: Split, evaluation: Evaluation, task: Task) -> np.ndarray:
    """Answers (N, ...) of the deployed file of a model folder to the test examples.

    Args:
        folder: model folder.
        test: test split.
        evaluation: threads and batch size of the runtime.
        task: task of the data.

    Raises:
        BadInput: if the file takes inputs of another shape.
    """
    sizes = onnx.load(folder / DEPLOYED).graph.input[0].type.tensor_type.shape.dim
    found = tuple(size.dim_value for size in sizes[1:])
    shape = tuple(test.inputs.shape[1:])
    if found != shape:
        raise BadInput(
            f"Expected {folder / DEPLOYED} to take inputs of the shape of the test split, {shape}; "
            f"found {found}."
        )
    model = runtime_named(evaluation.runtime).open(folder / DEPLOYED, evaluation.threads)
    answered: np.ndarray = task.answers(model.outputs(test.inputs.numpy(), evaluation.batch_size))
    return answered


@dataclass(frozen=True)
class Evaluator:
    """Judges candidates by the reports of a project and its current test split.

    Attributes:
        root: The project.
        params: content of `params.yaml`.
        table: `reports/models.csv`, a row for each entry.
        data: Hash of the prepared data.
        dataset: Facts of the prepared data.
        test: The test split.
    """

    root: Path
    params: Params
    table: pd.DataFrame
    data: str
    dataset: Dataset
    test: Split

    @property
    def task(self) -> Task:
        """Task of the data."""
        return self.dataset.build_task()

    @classmethod
    def open(cls, root: Path, params: Params) -> "Evaluator":
        """Open the reports and the test split of a project.

        Raises:
            BadInput: If the reports are missing, or were made of other data or other models.
        """
        table = root / REPORTS / TABLE
        if not table.is_file():
            raise BadInput(
                f"Expected the evaluation in {table}; found no such file. "
                "Run `espalier evaluate` first."
            )
        data = data_hash(root / PREPARED)
        _check_reports(root, params, data)
        return cls(
            root=root,
            params=params,
            table=pd.read_csv(table, index_col="model"),
            data=data,
            dataset=read_dataset(root / PREPARED),
            test=read_split(root / PREPARED, "test"),
        )

    def candidates(self, policy: Policy) -> tuple[str, ...]:
        """Entries that the policy allows for the alias: those it names, else all but the teacher.

        Raises:
            BadInput: If the policy names an entry that is not declared.
        """
        declared = tuple(name for name in self.params.names if name != TEACHER)
        unknown = sorted(set(policy.candidates) - {TEACHER, *declared})
        if unknown:
            raise BadInput(
                f"Expected `candidates` to be entries of params.yaml: {', '.join(declared)}; "
                f"found {unknown[0]!r}."
            )
        return policy.candidates or declared

    def answers(self, folder: Path) -> np.ndarray:
        """Answers (N, ...) of the deployed file of a model folder to the test examples."""
        return answer(folder, self.test, self.params.evaluation, self.task)

    def figures(self, name: str, champion: np.ndarray | None, damage: str) -> Figures:
        """Values of an entry for all gates.

        Args:
            name: The entry.
            champion: Answers (N, ...) of the current champion; None if the alias does not exist.
            damage: Difference between the files of the version and those of the model; empty if
                there is none.
        """
        rows: dict[str, dict[str, Any]] = self.table.to_dict("index")  # type: ignore[assignment]
        lineage = files.read_json(self.root / MODELS / name / LINEAGE)
        figures = Figures.of(
            rows[name],
            rows[TEACHER],
            headline=self.task.headline.name,
            data=str(lineage["data"]),
            current_data=self.data,
        )
        own = self._reported_answers(name)
        drop = None
        if champion is not None:
            drop = compare(self._scores(own), self._scores(champion)).drop.high
        agreement = self._torch_agreement(name, own)
        return replace(figures, champion_drop=drop, torch_agreement=agreement, intact=damage)

    def _reported_answers(self, name: str) -> np.ndarray:
        """Answers (N, ...) of the deployed file of an entry, by the reports."""
        path = self.root / REPORTS / PREDICTIONS / f"{name}.parquet"
        return np.stack(pd.read_parquet(path)["predicted"].to_list())

    def _scores(self, answers: np.ndarray) -> np.ndarray:
        """Scores (N,) of answers to the test examples."""
        return self.task.scores(answers, self.test.targets.numpy())

    def _torch_agreement(self, name: str, deployed: np.ndarray) -> float:
        """Fraction of the test examples for which the torch network gives the answer of the deployed file."""
        torch.set_num_threads(self.params.evaluation.threads)
        folder, device = self.root / MODELS / name, torch.device("cpu")
        network = load(folder, trusted=self.params.trusted)
        front = self.dataset.front(device, read_architecture(folder).preprocessing)
        inference = Inference(Resident(self.test, device), front, task=self.task)
        outputs = inference.read_out(inference.outputs(network)[0]).numpy()
        return float(self.task.agree(self.task.answers(outputs), deployed).mean())


def _check_reports(root: Path, params: Params, data: str) -> None:
    """Check that the reports are of the current data and of the current deployed files."""
    conditions = files.read_json(root / REPORTS / CONDITIONS)
    if conditions["data"] != data:
        raise BadInput(
            f"Expected {REPORTS}/ to be of the current data {data[:12]}; "
            f"found {conditions['data'][:12]}. Run `espalier evaluate` first."
        )
    for name in params.names:
        manifest = files.read_json(root / MODELS / name / MANIFEST)
        deployed = manifest["files"][DEPLOYED]["sha256"]
        if conditions["models"].get(name) != deployed:
            raise BadInput(
                f"Expected {REPORTS}/ to be of {name} as it is now; found another {name}. "
                "Run `espalier evaluate` first."
            )

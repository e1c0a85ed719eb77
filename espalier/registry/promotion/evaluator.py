"""What is known of those that may bear an alias: the evaluation's figures, and what only a comparison now can tell."""

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
from espalier.judging import answers, compare
from espalier.models.folder import load
from espalier.params import Evaluation, Params
from espalier.paths import (
    CONDITIONS,
    LINEAGE,
    MANIFEST,
    MODELS,
    ONNX,
    PREDICTIONS,
    PREPARED,
    REPORTS,
    TABLE,
    TEACHER,
)
from espalier.runtimes.onnx_runtime import Runtime
from espalier.training.batches import Resident
from espalier.training.scoring import Inference
from espalier.training.views import normaliser


def answer(folder: Path, test: Split, how: Evaluation) -> np.ndarray:
    """What the deployed file of a model folder answers to the test images, (N,).

    Raises:
        BadInput: If it is made for images of another shape.
    """
    sizes = onnx.load(folder / ONNX).graph.input[0].type.tensor_type.shape.dim
    found, shape = tuple(size.dim_value for size in sizes[1:]), tuple(test.inputs.shape[1:])
    if found != shape:
        raise BadInput(
            f"{folder / ONNX} should take images as those of the test split, {shape}. Found {found}."
        )
    runtime = Runtime(folder / ONNX, how.threads)
    answered: np.ndarray = answers(runtime.logits(test.inputs.numpy(), how.batch_size))
    return answered


@dataclass(frozen=True)
class Evaluator:
    """Where candidates are judged: the reports and the test split they were made on, which is the current one."""

    root: Path
    params: Params
    table: pd.DataFrame
    data: str
    dataset: Dataset
    test: Split

    @classmethod
    def of(cls, root: Path, params: Params) -> "Evaluator":
        """Open the reports of a project.

        Raises:
            BadInput: If they are missing, or of other data or models than there are now.
        """
        table = root / REPORTS / TABLE
        if not table.is_file():
            raise BadInput(
                f"{table} should hold the figures to judge by. Found nothing there: `espalier evaluate` first."
            )
        conditions, data = files.read_json(root / REPORTS / CONDITIONS), data_hash(root / PREPARED)
        if conditions["data"] != data:
            raise BadInput(
                f"{REPORTS}/ should be of the current data {data[:12]}. Found {conditions['data'][:12]}: "
                "`espalier evaluate` first."
            )
        for name in params.names:
            found = files.read_json(root / MODELS / name / MANIFEST)["files"][ONNX]["sha256"]
            if conditions["models"].get(name) != found:
                raise BadInput(
                    f"{REPORTS}/ should be of {name} as it is now. Found another: `espalier evaluate` first."
                )
        rows = pd.read_csv(table, index_col="model")
        return cls(
            root,
            params,
            rows,
            data,
            read_dataset(root / PREPARED),
            read_split(root / PREPARED, "test"),
        )

    def names(self, policy: Policy) -> tuple[str, ...]:
        """The entries that may bear an alias.

        Raises:
            BadInput: If the policy names one that is not declared.
        """
        declared = [name for name in self.params.names if name != TEACHER]
        unknown = sorted(set(policy.candidates) - {TEACHER, *declared})
        if unknown:
            raise BadInput(
                f"`candidates` should be entries of params.yaml: {', '.join(declared)}. Found {unknown[0]!r}."
            )
        return policy.candidates or tuple(declared)

    def answers(self, folder: Path) -> np.ndarray:
        """What the deployed file of a model folder answers to the test images."""
        return answer(folder, self.test, self.params.evaluation)

    def figures(self, name: str, champion: np.ndarray | None, intact: str) -> Figures:
        """All that the gates ask of an entry.

        Args:
            name: The entry.
            champion: The answers of the model that bears the alias; none if nobody does.
            intact: What is wrong with the files of its version, or nothing.
        """
        rows: dict[str, dict[str, Any]] = self.table.to_dict("index")  # type: ignore[assignment]
        own = pd.read_parquet(self.root / REPORTS / PREDICTIONS / f"{name}.parquet")[
            "predicted"
        ].to_numpy()
        lost = (
            None
            if champion is None
            else compare(self.test.targets.numpy(), own, champion).drop.high
        )
        lineage = files.read_json(self.root / MODELS / name / LINEAGE)
        figures = Figures.of(
            rows[name], rows[TEACHER], data=str(lineage["data"]), current_data=self.data
        )
        agreement = self._torch_agreement(name, own)
        return replace(figures, champion_drop=lost, torch_agreement=agreement, intact=intact)

    def _torch_agreement(self, name: str, deployed: np.ndarray) -> float:
        """The part of the test images to which the torch network gives the deployed file's answer."""
        torch.set_num_threads(self.params.evaluation.threads)
        network = load(self.root / MODELS / name, trusted=self.params.trusted)
        processor = torch.device("cpu")
        look = normaliser(self.dataset.mean, self.dataset.std, processor)
        logits = Inference(Resident(self.test, processor), look).outputs(network)[0].numpy()
        return float((answers(logits) == deployed).mean())

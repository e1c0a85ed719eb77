"""What is known of those that may bear an alias: the evaluation's figures, and what only a comparison now can tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from espalier import files
from espalier.data.prepared import Dataset, Split, data_hash, read_dataset, read_split
from espalier.errors import BadInput
from espalier.export.runtime import Runtime
from espalier.gates import Figures, Policy
from espalier.judging import answers, compare
from espalier.models.folder import load
from espalier.params import Params
from espalier.paths import CONDITIONS, LINEAGE, MANIFEST, MODELS, ONNX, PREPARED, REPORTS, TABLE, TEACHER
from espalier.training.batches import Resident
from espalier.training.scoring import Inference
from espalier.training.views import normaliser


@dataclass(frozen=True)
class Bench:
    """Where candidates are judged: the reports and the test split they were made on, which is the current one."""

    root: Path
    params: Params
    table: pd.DataFrame
    data: str
    dataset: Dataset
    test: Split

    @classmethod
    def of(cls, root: Path, params: Params) -> "Bench":
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
        return cls(root, params, rows, data, read_dataset(root / PREPARED), read_split(root / PREPARED, "test"))

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
        runtime = Runtime(folder / ONNX, self.params.evaluation.threads)
        found: np.ndarray = answers(runtime.logits(self.test.images.numpy(), self.params.evaluation.batch_size))
        return found

    def figures(self, name: str, champion: np.ndarray | None, intact: str) -> Figures:
        """All that the gates ask of an entry.

        Args:
            name: The entry.
            champion: The answers of the model that bears the alias; none if nobody does.
            intact: What is wrong with the files of its version, or nothing.
        """
        rows: dict[str, dict[str, Any]] = self.table.to_dict("index")  # type: ignore[assignment]
        row, teacher = rows[name], rows[TEACHER]
        labels, own = self.test.labels.numpy(), self.answers(self.root / MODELS / name)
        lineage = files.read_json(self.root / MODELS / name / LINEAGE)
        return Figures(
            examples=int(row["examples"]),
            accuracy=float(row["accuracy"]),
            drop=float(row["drop_high"]),
            champion_drop=None if champion is None else compare(labels, own, champion).drop.high,
            worst_class_drop=float(row["worst_class_drop_high"]),
            bytes=int(row["bytes"]),
            bytes_ratio=float(row["bytes"] / teacher["bytes"]),
            milliseconds=float(row["latency_1_ms"]),
            latency_ratio=float(1 / row["speedup_1_low"]) if row["speedup_1_low"] > 0 else float("inf"),
            memory=float(row["memory_1"]),
            torch_agreement=self._torch_agreement(name, own),
            finite=int(row["not_finite"]) == 0,
            data=str(lineage["data"]),
            current_data=self.data,
            intact=intact,
        )

    def _torch_agreement(self, name: str, deployed: np.ndarray) -> float:
        """The part of the test images to which the torch network gives the deployed file's answer."""
        torch.set_num_threads(self.params.evaluation.threads)
        network = load(self.root / MODELS / name, trusted=self.params.trusted)
        processor = torch.device("cpu")
        look = normaliser(self.dataset.mean, self.dataset.std, processor)
        logits = Inference(Resident(self.test, processor), look).logits(network)[0].numpy()
        return float((answers(logits) == deployed).mean())

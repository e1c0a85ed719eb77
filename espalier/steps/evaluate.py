"""`espalier evaluate`: every model's deployed file on the test split, side by side."""

import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from espalier import files
from espalier.data.prepared import read_split
from espalier.export.runtime import Runtime
from espalier.measures.latency import interleaved, median_ratio
from espalier.params import Params, read_params
from espalier.paths import LINEAGE, METRICS, MODELS, ONNX, PREDICTIONS, PREPARED, REPORTS, STATE, TABLE, TEACHER
from espalier.report.terminal import tree

_BATCHES = (1, 64)


def run(root: Path) -> None:
    """Measure all models that `params.yaml` declares, and write `reports/`.

    Raises:
        BadInput: If a model or the test split is missing or damaged.
    """
    params = read_params(root)
    _drop_undeclared(root / MODELS, params)
    for name in params.names:
        files.verify(root / MODELS / name)
    test = read_split(root / PREPARED, "test")
    images, labels = test.images.numpy(), test.labels.numpy()
    runtimes = {name: Runtime(root / MODELS / name / ONNX, params.evaluation.threads) for name in params.names}
    with files.replacing(root / REPORTS, root / STATE / "work") as draft:
        (draft / PREDICTIONS).mkdir()
        rows = []
        for name, runtime in runtimes.items():
            answers = predictions(runtime.logits(images, params.evaluation.batch_size), labels)
            answers.to_parquet(draft / PREDICTIONS / f"{name}.parquet", index=False)
            accuracy = float((answers["predicted"] == answers["label"]).mean())
            rows.append({"model": name, **_entry(params, name), "accuracy": accuracy, **_facts(root, name)})
        table = pd.DataFrame(rows).set_index("model")
        table.insert(3, "drop", table["accuracy"][TEACHER] - table["accuracy"])
        for size in _BATCHES:
            batch = np.resize(images, (size, *images.shape[1:]))  # repeats the images where there are fewer
            _add_latency(table, runtimes, batch, params.evaluation.rounds)
        table.to_csv(draft / TABLE)
    if sys.stdout.isatty():
        tree(table.reset_index())
    else:
        print(f"measured {len(rows)} models on {len(labels)} test examples; reports/ is ready")  # noqa: T201


def predictions(logits: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """A row per test example, in the order of the split: its label, the answer, and the logits behind it."""
    return pd.DataFrame(
        {
            "example": np.arange(len(labels)),
            "label": labels,
            "predicted": logits.argmax(1),
            "logits": list(logits.astype(np.float32)),
        }
    )


def _drop_undeclared(models: Path, params: Params) -> None:
    """An entry taken out of `params.yaml` disappears; DVC's cache still holds it, should it come back."""
    for folder in models.iterdir() if models.is_dir() else ():
        if folder.is_dir() and folder.name not in params.names and (folder / LINEAGE).is_file():
            shutil.rmtree(folder)


def _entry(params: Params, name: str) -> dict[str, str]:
    entry = params.entry(name)
    return {"parent": getattr(entry, "parent", ""), "by": entry.by}


def _facts(root: Path, name: str) -> dict[str, float]:
    metrics = files.read_json(root / MODELS / name / METRICS)
    return {key: metrics[key] for key in ("parameters", "macs", "bytes")}


def _add_latency(table: pd.DataFrame, runtimes: dict[str, Runtime], batch: np.ndarray, rounds: int) -> None:
    times = interleaved({name: runtime.run for name, runtime in runtimes.items()}, batch, rounds)
    size = len(batch)
    table[f"latency_{size}_ms"] = [1e3 * statistics.median(times[name]) for name in table.index]
    table[f"speedup_{size}"] = [median_ratio(times[name], times[TEACHER]) for name in table.index]

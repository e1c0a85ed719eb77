"""Whether the stated band of noise holds: twenty models of the digits, evaluated five times beside a busy neighbour.

One process computes without rest on another core while `espalier evaluate` runs, five times, each in a process of its
own. A band is for another evaluation's ratio, so each evaluation's bands are held against the ratios of the other four.

python benchmarks/bench_noise.py
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from espalier.commands import make
from espalier.data.prepare import prepare
from espalier.data.sources import import_data
from espalier.measures.device import processor
from espalier.params import read_params
from espalier.settings.data import DataSettings

ROOT, TIMES = Path(__file__).resolve().parents[1], 5


def entries() -> dict[str, dict[str, object]]:
    """Nineteen beside the teacher, from a tenth of its work to nearly all of it; how well they answer is no matter."""
    plain = {
        f"resnet{depth}-{width}": {
            "model": "espalier:resnet",
            "arguments": {"depth": depth, "width": width},
        }
        for depth in (8, 14, 20)
        for width in (8, 16, 24, 32)
    }
    variants = {
        name: {"from": "teacher", "by": "train", "epochs": 1, **model}
        for name, model in plain.items()
    }
    return variants | {
        f"{name}-int8": {"from": name, "by": "quantize", "images": 64} for name in list(plain)[:7]
    }


def project(folder: Path) -> None:
    shutil.copytree(ROOT / ".dvc" / "embedded", folder / ".dvc" / "embedded")
    import_data("digits", folder / "data", None, folder / "work", DataSettings())
    settings: dict[str, Any] = {
        "validation": 0.15,
        "test": 0.2,
        "duplicates": "refuse",
        "split": "exact",
        "crop": -1,
        "flip": None,
        "seed": 0,
    }
    prepare(folder / "data", folder / "prepared", **settings, workshop=folder / "work")
    teacher = {"model": "espalier:wide_resnet", "arguments": {"depth": 10, "widen": 4}, "epochs": 1}
    params = {"training": {"threads": 1}, "teacher": teacher, "models": entries()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for name in read_params(folder).names:
        make.run(folder, name)


def compute() -> None:
    while True:
        pass


def evaluate(folder: Path) -> tuple[pd.DataFrame, float]:
    """The table of one evaluation, without the teacher, and its seconds on the wall."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "espalier", "evaluate"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    took = time.perf_counter() - started
    return pd.read_csv(folder / "reports" / "models.csv", index_col="model").drop("teacher"), took


def main() -> None:
    neighbour = multiprocessing.get_context("spawn").Process(target=compute, daemon=True)
    with tempfile.TemporaryDirectory() as folder:
        project(Path(folder))
        neighbour.start()
        found = [evaluate(Path(folder)) for _ in range(TIMES)]
        neighbour.kill()
    tables = [table for table, _ in found]
    seconds = ", ".join(f"{took:.1f}" for _, took in found)
    print(
        f"{processor()}, load {os.getloadavg()[0]:.1f}; {1 + len(tables[0])} models; seconds: {seconds}"
    )
    print("batch  within  half the band  fastest model  spread of a ratio")
    for size in (1, 64):
        column = f"speedup_{size}"
        held = [
            other[column].between(own[f"{column}_low"], own[f"{column}_high"]).mean()
            for own, other in permutations(tables, 2)
        ]
        half = np.median([np.log(table[f"{column}_high"] / table[column]) for table in tables])
        spread = np.median(np.std([np.log(table[column]) for table in tables], axis=0, ddof=1))
        fastest = min(table[f"latency_{size}_ms"].min() for table in tables)
        print(f"{size:5}  {np.mean(held):6.1%}  {half:13.1%}  {fastest:10.4f} ms  {spread:17.1%}")


if __name__ == "__main__":
    main()

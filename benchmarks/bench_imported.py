"""The examples of foreign weights: each a project, in a run as users make it.

    python benchmarks/bench_imported.py CIFAR10 WEIGHTS FOLDER [--example bytes] [--write]

CIFAR10 holds the parquet files of the data set, WEIGHTS the checkpoints of the ResNet-56 and the ResNet-20. FOLDER
becomes a project by one of the files of parameters in `examples/resnet56`, and a second call goes on where the first
was stopped. The evaluation alone reads the test images.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from bench_digits import call
from committed import conditions, show

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "resnet56"
EXAMPLES = {"half": "params.yaml"} | {name: f"{name}.yaml" for name in ("bytes", "small", "packed")}
COLUMNS = ("accuracy", "drop", "drop_low", "drop_high", "macs", "bytes", "speedup_1", "speedup_64")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("project", type=Path)
    parser.add_argument("--example", default="half", choices=EXAMPLES)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    measured = conditions(
        f"python benchmarks/bench_imported.py CIFAR10 WEIGHTS FOLDER --example {given.example} --write"
    )
    if not given.project.exists():
        make_project(given.project, given.data, given.weights, EXAMPLES[given.example])
    call(given.project, "espalier", "run")
    print(call(given.project, "espalier", "show"))
    result = measured | {"models": results_of(given.project)}
    show(f"imported/{given.example}", result, write=given.write)


def make_project(project: Path, data: Path, weights: Path, params: str) -> None:
    """The example in a new folder, with its data and its weights."""
    call(project.parent, "espalier", "init", str(project), "--recipe", "import")
    shutil.copytree(EXAMPLE, project, dirs_exist_ok=True)
    shutil.copy(EXAMPLE / params, project / "params.yaml")
    for path in weights.glob("*.th"):  # resnet56-4bfd9763.th
        shutil.copy(path, project / "weights" / f"{path.stem.partition('-')[0]}.th")
    call(project, "espalier", "data", "cifar10", "--root", str(data.resolve()))


def results_of(project: Path) -> dict[str, Any]:
    """The figures of each model, and the seconds and epochs of its training."""
    rows = pd.read_csv(project / "reports" / "models.csv", index_col="model")
    found: dict[str, Any] = {}
    for name, row in rows.iterrows():
        metrics = json.loads((project / "models" / str(name) / "metrics.json").read_text())
        training = {key: metrics[key] for key in ("epochs", "seconds", "validation_accuracy")}
        found[str(name)] = {key: float(row[key]) for key in COLUMNS} | training
        if "packed_bytes" in metrics:
            found[str(name)]["packed_bytes"] = metrics["packed_bytes"]
    return found


if __name__ == "__main__":
    main()

"""The claims of the methods on Fashion-MNIST: the same epochs for both sides of every comparison, several seeds.

    python benchmarks/bench_claims.py DATA [--work WORK] [--write]

DATA holds the folder `fashion-mnist`. WORK keeps the projects (one a seed), so that a second call goes on. Every seed
has its own split, teacher and weights. The figures are of the deployed files on the 10,000 test images.
"""

import argparse
import gzip
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from committed import ROOT, conditions, place_table, read, show, source
from scipy.stats import t

from espalier import files
from espalier.commands import evaluate, make, prepare
from espalier.inputs.image import encode
from espalier.params import read_params

SEEDS = (0, 1, 2)
# of the 60,000 for training: the claims are about differences, and this is what one core can do
IMAGES = 12_000
EPOCHS, RECOVERY = 10, 4
RESNET = {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 8}}
WIDER = {
    "model": "espalier:resnet",
    "arguments": {"depth": 8, "width": 6},
}  # 0.56 of the work: more than the cut has
LABELS, NOTHING = {"weight": 0.0}, {"epochs": 0}
CUT = {
    "from": "student",
    "by": "prune",
    "keep_macs": 0.5,
    "align": 1,
    "finetune": {"epochs": RECOVERY},
}
RIGHT_AFTER = CUT | {"keep_macs": 0.6, "finetune": NOTHING}
INT8 = {"from": "student", "by": "quantize"}

PARAMS = {
    "data": {"validation": 0.1},
    "training": {"batch_size": 128, "threads": 1},
    "teacher": {
        "model": "espalier:resnet",
        "arguments": {"depth": 8, "width": 24},
        "epochs": EPOCHS,
    },
    "models": {
        "alone": {"from": "teacher", "by": "train", "epochs": EPOCHS, **RESNET},
        "student": {"from": "teacher", "by": "distill", "epochs": EPOCHS, **RESNET},
        "taught": {**CUT, "score": "taylor"},
        "labels": {**CUT, "score": "taylor", "soft": LABELS},
        "unreconstructed": {**CUT, "score": "taylor", "reconstruct": False},
        "unreconstructed-now": {**RIGHT_AFTER, "score": "taylor", "reconstruct": False},
        **{
            f"{score}-now": {**RIGHT_AFTER, "score": score}
            for score in ("random", "magnitude", "taylor", "fisher")
        },
        "random": {**CUT, "score": "random"},
        "fisher": {**CUT, "score": "fisher"},
        "from-nothing": {"from": "teacher", "by": "distill", "epochs": EPOCHS + RECOVERY, **WIDER},
        **{name: {**INT8, "calibration": name} for name in ("minmax", "percentile", "entropy")},
    },
    "evaluation": {"rounds": 3},
}
CLAIMS = (
    ("distillation beats the student alone", "student", "alone"),
    (
        "reconstruction beats none, right after a cut to 0.6",
        "taylor-now",
        "unreconstructed-now",
    ),
    ("reconstruction beats none, recovered", "taught", "unreconstructed"),
    ("Taylor beats random, right after a cut to 0.6", "taylor-now", "random-now"),
    ("Fisher beats random, right after a cut to 0.6", "fisher-now", "random-now"),
    ("magnitude beats random, right after a cut to 0.6", "magnitude-now", "random-now"),
    ("Taylor beats random, recovered", "taught", "random"),
    ("Fisher beats random, recovered", "fisher", "random"),
    ("recovery with distillation beats recovery without", "taught", "labels"),
    ("a pruned network beats one of its size trained from nothing", "taught", "from-nothing"),
    ("entropy calibration is no worse than MinMax", "entropy", "minmax"),
    ("percentile calibration is no worse than MinMax", "percentile", "minmax"),
)
PAGE = ROOT / "docs" / "methods.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--work", type=Path, help="keeps the projects, so that a second call goes on"
    )
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    record = conditions("python benchmarks/bench_claims.py DATA --write")
    work = given.work or Path(tempfile.mkdtemp(prefix="claims-"))
    images = given.data / "fashion-mnist"
    accuracy = (
        pd.DataFrame({seed: one(images, work / f"seed-{seed}", seed) for seed in SEEDS}) * 100
    )
    record |= {"images": IMAGES, "epochs": EPOCHS, "recovery": RECOVERY}
    record["accuracy"] = {name: round(row.mean(), 2) for name, row in accuracy.iterrows()}
    record["claims"] = {
        claim: row(claim, accuracy.T[better] - accuracy.T[worse]) for claim, better, worse in CLAIMS
    }
    show("claims", record, write=given.write)
    if given.write:
        place_table("claims", table(), PAGE)


def row(claim: str, gain: "pd.Series[float]") -> dict[str, Any]:
    """The points that the claimed side is better by, with a 95 % interval, and the verdict."""
    interval = t.ppf(0.975, len(gain) - 1) * gain.std() / math.sqrt(len(gain))
    return {
        "points": round(gain.mean(), 2),
        "interval": round(interval, 2),
        "by_seed": [round(points, 2) for points in gain],
        "verdict": verdict(claim, gain),
    }


def verdict(claim: str, gain: "pd.Series[float]") -> str:
    """Every seed agrees, or the mean is on the claim's side, or it is not."""
    least = -0.05 if "no worse" in claim else 0.0  # five images of 10,000
    if (gain > least).all():
        return "holds in every seed"
    return "holds on average" if gain.mean() > least else "does not hold"


def table() -> str:
    """The committed results in Markdown."""
    record = read("claims")
    lines = ["| claim | points, 95 % interval | by seed | |", "|---|--:|---|---|"]
    for claim, found in record["claims"].items():
        each = ", ".join(f"{points:+.2f}" for points in found["by_seed"])
        points = f"{found['points']:+.2f} ± {found['interval']:.2f}"
        lines.append(f"| {claim} | {points} | {each} | {found['verdict']} |")
    return "\n".join([*lines, "", source(record)]) + "\n"


def one(source: Path, root: Path, seed: int) -> "pd.Series[float]":
    """The accuracies of all models of one seed."""
    if not (root / "data").is_dir():
        write_data(source, root / "data")
    (root / "params.yaml").write_text(yaml.safe_dump({"seed": seed, **PARAMS}, sort_keys=False))
    if not (root / "prepared").is_dir():
        prepare.run(root)
    for name in read_params(root).names:
        make.run(root, name)
    evaluate.run(root)
    return pd.read_csv(root / "reports" / "models.csv", index_col="model")["accuracy"]


def write_data(source: Path, target: Path) -> None:
    """Some of the training images and all test images, as a parquet file with splits."""
    target.mkdir(parents=True)
    chosen = np.random.default_rng(0).permutation(60_000)[:IMAGES]
    tables = []
    for split, stem, index in (("train", "train", chosen), ("test", "t10k", np.arange(10_000))):
        images = read_idx(source / f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[index]
        labels = read_idx(source / f"{stem}-labels-idx1-ubyte.gz", 8)[index]
        column = pa.array(
            [{"bytes": encode(image[None])} for image in images],
            pa.struct([("bytes", pa.binary())]),
        )
        label = pa.array(labels.astype(np.int64))
        tables.append(pa.table({"image": column, "label": label, "split": [split] * len(labels)}))
    pq.write_table(pa.concat_tables(tables), target / "images.parquet")
    files.write_json(target / "classes.json", [str(label) for label in range(10)])


def read_idx(path: Path, header: int) -> np.ndarray:
    """The bytes of a file of the MNIST family, behind its header."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)[header:]


if __name__ == "__main__":
    main()

"""The cost of quantization on real images: every scheme and calibration, on networks that take it well and that do not.

python benchmarks/bench_quantization.py DATA [FOLDER]

DATA holds the folders `fashion-mnist` (its four files) and `cifar10` (`train.parquet`, `test.parquet`). FOLDER keeps
the projects (one for each data set and network), so that a second call goes on. Choices are made on validation; the
accuracies are those of the deployed files on test images.
"""

import gzip
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from onnx import numpy_helper

from espalier import files
from espalier.commands import make, prepare
from espalier.data.prepared import read_split
from espalier.inputs.image import encode
from espalier.params import read_params
from espalier.runtimes import DEFAULT

TRAINED, TESTED, EPOCHS, AWARE = 3_000, 4_000, 6, 3
NETWORKS = {
    "resnet": {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 8}},
    "mobilenet": {"model": "espalier:mobilenet", "arguments": {"multiplier": 0.35}},
}
INT8 = {"from": "teacher", "by": "quantize", "images": 128}
TENSOR, FULL = {"per_channel": False}, {"reduce_range": False}
LEARNED = {
    "from": "teacher",
    "by": "quantize",
    "images": 128,
    "scheme": "aware",
    "finetune": {"epochs": AWARE},
}
CALIBRATIONS = ("minmax", "percentile", "entropy")
MODELS = {
    **{name: {**INT8, "calibration": name} for name in CALIBRATIONS},
    **{f"{name}, 8-bit weights": {**INT8, "calibration": name, **FULL} for name in CALIBRATIONS},
    **{f"{name}, per tensor": {**INT8, "calibration": name, **TENSOR} for name in CALIBRATIONS},
    "median of 6 samples": {**INT8, "calibration": "percentile", "resamples": 6},
    "ladder, per tensor": {**INT8, **TENSOR, "ladder": {"limit": 0.005, "aware": False}},
    "aware": LEARNED,
    "aware, per tensor": {**LEARNED, **TENSOR},
}
NAMES = {
    label: "-".join(label.replace(",", "").split()) for label in MODELS
}  # as params.yaml takes them


def main(source: Path, folder: Path) -> None:
    print(
        f"{TRAINED} training images, {EPOCHS} epochs, {AWARE} of aware training; accuracy on {TESTED} test images"
    )
    for network in NETWORKS:
        for data in ("fashion-mnist", "cifar10"):
            root = folder / f"{data}-{network}"
            table = one(source / data, root, NETWORKS[network])
            print(
                f"\n{data}, {network}\n\n| model | accuracy | points lost | scale to MinMax's |\n|---|---|---|---|"
            )
            for label, row in table.iterrows():
                print(
                    f"| {label} | {100 * row.accuracy:.2f} | {100 * row.lost:+.2f} | {row.scale:.3f} |",
                    flush=True,
                )


def one(source: Path, root: Path, network: Mapping[str, object]) -> pd.DataFrame:
    """The accuracies of all models of one project."""
    if not (root / "data").is_dir():
        write_data(source, root / "data")
    params = {
        "data": {"validation": 0.2},
        "training": {"batch_size": 64, "threads": 1, "views": 20},
        "teacher": {**network, "epochs": EPOCHS},
        "models": {NAMES[label]: entry for label, entry in MODELS.items()},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    if not (root / "prepared").is_dir():
        prepare.run(root)
    for name in read_params(root).names:
        make.run(root, name)
    test = read_split(root / "prepared", "test")
    rows = {}
    for label, name in {"float32": "teacher", **NAMES}.items():
        path = root / "models" / name / "model.onnx"
        right = DEFAULT.open(path).outputs(test.inputs.numpy()).argmax(1) == test.targets.numpy()
        rows[label] = {
            "accuracy": right.mean(),
            "scale": scale(path, root / "models" / "minmax" / "model.onnx"),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.assign(lost=table["accuracy"]["float32"] - table["accuracy"])


def scale(path: Path, reference: Path) -> float:
    """The median ratio of the scales of activations; none, if the files do not hold the same tensors."""
    ours, theirs = scales(path), scales(reference)
    if not ours or not ours.keys() <= theirs.keys():
        return float("nan")
    return float(np.median([ours[name] / theirs[name] for name in ours]))


def scales(path: Path) -> dict[str, float]:
    """The scale of every quantized activation, by the name of the tensor."""
    graph = onnx.load(path).graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    return {node.input[0]: float(values[node.input[1]]) for node in nodes}


def write_data(source: Path, target: Path) -> None:
    """Some of the training and test images, as a parquet file with splits."""
    target.mkdir(parents=True)
    tables = []
    for split, count in (("train", TRAINED), ("test", TESTED)):
        images, labels = (
            read_parquet(source, split, count)
            if source.name == "cifar10"
            else read_idx(source, split, count)
        )
        column = pa.array(
            [{"bytes": image} for image in images], pa.struct([("bytes", pa.binary())])
        )
        tables.append(
            pa.table({"image": column, "label": pa.array(labels), "split": [split] * len(labels)})
        )
    pq.write_table(pa.concat_tables(tables), target / "images.parquet")
    files.write_json(target / "classes.json", [str(label) for label in range(10)])


def read_parquet(source: Path, split: str, count: int) -> tuple[list[bytes], list[int]]:
    table = pq.read_table(source / f"{split}.parquet")
    table = table.take(np.random.default_rng(0).permutation(len(table))[:count])
    return [row["bytes"] for row in table["image"].to_pylist()], table["label"].to_pylist()


def read_idx(source: Path, split: str, count: int) -> tuple[list[bytes], list[int]]:
    stem = source / ("train" if split == "train" else "t10k")
    contents = [
        gzip.decompress(Path(f"{stem}-{kind}-ubyte.gz").read_bytes())
        for kind in ("images-idx3", "labels-idx1")
    ]
    images = np.frombuffer(contents[0], np.uint8)[16:].reshape(-1, 28, 28)
    labels = np.frombuffer(contents[1], np.uint8)[8:]
    chosen = np.random.default_rng(0).permutation(len(labels))[:count]
    return [encode(image[None]) for image in images[chosen]], labels[chosen].tolist()


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = (
        Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp(prefix="quantization-"))
    )
    main(Path(sys.argv[1]), where)

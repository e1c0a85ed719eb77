"""Deployed files in ONNX Runtime, and in OpenVINO as a second runtime: milliseconds, in turn, on one thread.

    pip install openvino==2026.4.1 --target /tmp/openvino
    PYTHONPATH=/tmp/openvino python benchmarks/bench_openvino.py FASHION_MNIST [--rounds 15] [--write]

A ResNet-20 and a MobileNet are trained for one epoch on 2,000 images, exported and quantized; speed does not depend on
what they have learned. `speed` is the time in ONNX Runtime over that in OpenVINO, `agree` the share of equal decisions.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas
import torch
from bench_growth import png, read_fashion_mnist
from committed import conditions, place_table, read, show

from espalier.commands import make, prepare
from espalier.data.prepared import read_split
from espalier.runtimes import DEFAULT

ROOT = Path(__file__).resolve().parents[1]
PARAMS = """\
training: {batch_size: 64, threads: 1}
teacher: {model: "espalier:resnet", arguments: {depth: 20, width: 16}, epochs: 1}
models:
  resnet20-int8: {from: teacher, by: quantize}
  mobilenet: {from: teacher, by: distill, model: "espalier:mobilenet", arguments: {multiplier: 0.5}, epochs: 1}
  mobilenet-int8: {from: mobilenet, by: quantize}
"""
NAMES = {
    "ResNet-20": "teacher",
    "ResNet-20 int8": "resnet20-int8",
    "MobileNet": "mobilenet",
    "MobileNet int8": "mobilenet-int8",
}
IMAGES, BATCHES = 2_000, (1, 64)
Run = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the files of Fashion-MNIST")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    torch.set_num_threads(1)
    command = f"python benchmarks/bench_openvino.py FASHION_MNIST --rounds {given.rounds} --write"
    measured = conditions(command)
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), given.data)
    result = measured | {
        "versions": {"onnxruntime": onnxruntime.__version__, "openvino": version("openvino")},
        "files": {name: compared(*one, given.rounds) for name, one in files.items()},
    }
    show("openvino", result, write=given.write)
    if given.write:
        place_table("openvino", table())


def table() -> str:
    """The committed result in Markdown."""
    record = read("openvino")
    batches = " | ".join(f"batch {size}: ONNX Runtime | OpenVINO | speed" for size in BATCHES)
    lines = [f"| file | {batches} | agree |", f"|---|{'--:|' * (3 * len(BATCHES) + 1)}"]
    for name, found in record["files"].items():
        cells = [cell for size in BATCHES for cell in _cells(found["milliseconds"][str(size)])]
        lines.append(f"| {name} | {' | '.join(cells)} | {100 * found['agree']:.1f} % |")
    versions = ", ".join(f"{name} {one}" for name, one in record["versions"].items())
    end = f"`{record['command']}`, {record['device']}, {versions}, {record['date']}."
    return "\n".join([*lines, "", end]) + "\n"


def _cells(found: dict[str, float]) -> tuple[str, str, str]:
    ours, theirs = found["onnxruntime"], found["openvino"]
    return f"{ours:.3f} ms", f"{theirs:.3f} ms", f"{ours / theirs:.2f}x"


def make_files(root: Path, data: Path) -> dict[str, tuple[bytes, np.ndarray]]:
    """The deployed files, each with inputs of the test split."""
    images, labels = read_fashion_mnist(data)
    source = root / "data"
    source.mkdir()
    rows = {"image": map(png, images[:IMAGES]), "label": labels[:IMAGES]}
    pandas.DataFrame(rows).to_parquet(source / "all.parquet")
    (root / "params.yaml").write_text(PARAMS)
    prepare.run(root)
    for name in NAMES.values():
        make.run(root, name)
    inputs = read_split(root / "prepared", "test").inputs.numpy()
    return {
        label: ((root / "models" / name / "model.onnx").read_bytes(), inputs)
        for label, name in NAMES.items()
    }


def compared(content: bytes, inputs: np.ndarray, rounds: int) -> dict[str, Any]:
    """Milliseconds of a file at each size of batch in both runtimes, and the share of equal decisions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(content)
        runs = {"onnxruntime": DEFAULT.open(path).run, "openvino": opened_in_openvino(path)}
    decisions = [run(inputs[:256]).argmax(1) for run in runs.values()]
    return {
        "milliseconds": {size: timed(runs, inputs[:size], rounds) for size in BATCHES},
        "agree": round(float(np.mean(decisions[0] == decisions[1])), 4),
    }


def opened_in_openvino(path: Path) -> Run:
    """A file in OpenVINO, on one thread, for the smallest latency."""
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = "f32"  # else bfloat16, where the processor has it
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda inputs: np.asarray(compiled(inputs)[0])


def timed(runs: dict[str, Run], inputs: np.ndarray, rounds: int) -> dict[str, float]:
    """Median milliseconds of a call in each runtime, in turn."""
    calls = max(1, 256 // len(inputs))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(calls):
                run(inputs)
            if number:  # the first round is not counted
                taken[name].append(1000 * (time.perf_counter() - began) / calls)
    return {name: round(statistics.median(found), 4) for name, found in taken.items()}


if __name__ == "__main__":
    main()

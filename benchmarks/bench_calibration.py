"""Static quantization of a file, by Espalier and by ONNX Runtime's own tool: seconds.

    python benchmarks/bench_calibration.py [--rounds 3] [--write]

Both get the same file and the same images, the tool in batches of 64, and write a file: quantizers at every tensor,
weights per channel. Each way runs in a new process, in turn. The weights are those of the factories and the images are
random, so nothing is said of accuracy.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from committed import conditions, place_table, read, show, source
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization import quantize_static as their_quantize
from onnxruntime.quantization.shape_inference import quant_pre_process

from espalier.export.onnx import write
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.quantization.static import quantize

BATCH = 64
# factory, arguments, shape, classes, number of images
NETWORKS: dict[str, tuple[str, dict[str, int], tuple[int, int, int], int, int]] = {
    "ResNet-20 of 3x32x32": ("espalier:resnet", {"depth": 20}, (3, 32, 32), 10, 512),
    "MobileNetV2 of 3x224x224": ("torchvision:mobilenet_v2", {}, (3, 224, 224), 1000, 64),
}
TOOLS = ("espalier", "onnxruntime")
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """The images, as ONNX Runtime's tool asks for them."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        starts = range(0, len(images), BATCH)
        self.batches: Iterator[dict[str, np.ndarray]] = iter(
            [{name: images[start : start + BATCH]} for start in starts]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None."""
        return next(self.batches, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(once(*given.one))
        return
    command = f"python benchmarks/bench_calibration.py --rounds {given.rounds} --write"
    measured = conditions(command)
    networks = {name: compare(name, given.rounds) for name in NETWORKS}
    show("calibration", measured | {"networks": networks}, write=given.write)
    if given.write:
        place_table("calibration", table())


def compare(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of the seconds of both tools for each method of calibration."""
    factory, arguments, shape, classes, count = NETWORKS[name]
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        file, images = Path(folder) / "network.onnx", Path(folder) / "images.npy"
        np.save(images, pixels)
        torch.manual_seed(0)
        network = build(factory, classes=classes, shape=shape, arguments=arguments).eval()
        norm = Normalize((0.5,) * 3, (0.25,) * 3)
        write(network, file, torch.from_numpy(pixels[:2]), norm)
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for _ in range(rounds):
            for method in METHODS:
                for tool in TOOLS:
                    found[method, tool].append(_in_process(tool, method, file, images))
    return {
        method: {tool: round(statistics.median(found[method, tool]), 3) for tool in TOOLS}
        for method in METHODS
    }


def _in_process(*words: str | Path) -> float:
    command = [sys.executable, __file__, "--one", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def once(tool: str, method: str, file: str, images: str) -> float:
    """The seconds of a quantization."""
    pixels = np.load(images)
    target = Path(images).with_name("quantized.onnx")
    started = time.perf_counter()
    if tool == "espalier":
        quantize(Path(file), target, pixels, calibration=method)
    else:
        ready = target.with_name("ready.onnx")
        quant_pre_process(file, str(ready), skip_symbolic_shape=True)
        their_quantize(
            ready,
            target,
            Batches("image", pixels),
            calibrate_method=METHODS[method],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
    return time.perf_counter() - started


def table() -> str:
    """The committed result in Markdown."""
    record: dict[str, Any] = read("calibration")
    lines = [
        "| network | calibration | Espalier | ONNX Runtime's tool | speed |",
        "|---|---|--:|--:|--:|",
    ]
    for name, methods in record["networks"].items():
        for method, tools in methods.items():
            cells = [f"{tools[tool]:.2f} s" for tool in TOOLS]
            speed = tools["onnxruntime"] / tools["espalier"]
            lines.append(f"| {name} | {method} | {' | '.join(cells)} | {speed:.1f}x |")
    return "\n".join([*lines, "", source(record)]) + "\n"


if __name__ == "__main__":
    main()

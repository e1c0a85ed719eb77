"""The value of a compression in the runtime: latency of ResNets for 32x32, interleaved, in one run.

Pruned without regard to blocks of channels, a network has less work and little less latency; aligned, or cut by
measured times, it has both. Taking whole residual blocks out saves as much time as work.

python benchmarks/bench_runtime.py
"""

import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from espalier.errors import Notice
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.measures.device import processor
from espalier.measures.macs import count_macs
from espalier.measures.sittings import in_sittings
from espalier.models import build
from espalier.pruning import prune
from espalier.quantization import quantize
from espalier.runtimes import DEFAULT

SHAPE, ROUNDS = (3, 32, 32), {1: 300, 64: 20}


def resnet(depth: int) -> nn.Module:
    torch.manual_seed(0)
    return build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": depth}).eval()


def networks() -> dict[str, nn.Module]:
    whole, example = resnet(56), torch.zeros(2, *SHAPE)
    cuts: dict[str, dict[str, Any]] = {
        **{f"half, `align: {align}`": {"keep_macs": 0.5, "align": align} for align in (1, 8, 16)},
        "half, `budget: latency`": {"keep_macs": 0.5, "budget": "latency"},
        "9 of 27 blocks": {"keep_macs": 0.33, "pattern": "blocks"},
    }
    return {
        "whole": whole,
        **{name: prune(whole, example, **cut) for name, cut in cuts.items()},
        "ResNet-20": resnet(20),
    }


def deployed(variants: dict[str, nn.Module], images: torch.Tensor, folder: Path) -> dict[str, Path]:
    """The files of all networks, in both precisions."""
    paths = {}
    for number, (name, network) in enumerate(variants.items()):
        paths[name], paths[f"{name}, int8"] = (
            folder / f"{number}.onnx",
            folder / f"{number}.int8.onnx",
        )
        export(network, paths[name], images[:4], Normalize((0.5,) * 3, (0.25,) * 3))
        quantize(paths[name], paths[f"{name}, int8"], images.numpy(), calibration="minmax")
    return paths


def main() -> None:
    warnings.simplefilter("ignore", Notice)
    torch.set_num_threads(1)
    images = torch.randint(
        0, 256, (64, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    variants = networks()
    with tempfile.TemporaryDirectory() as folder:
        paths = deployed(variants, images, Path(folder))
        load = os.getloadavg()[0]
        taken = in_sittings(
            lambda: {name: DEFAULT.open(path).run for name, path in paths.items()},
            {size: images[:size].numpy() for size in ROUNDS},
            ROUNDS,
        )
    times = {
        size: {name: float(np.median(each.comparable(alone=True))) for name, each in found.items()}
        for size, found in taken.items()
    }
    whole = {size: found["whole"] for size, found in times.items()}
    print(
        f"{processor()}, ONNX Runtime {onnxruntime.__version__}, 1 thread, {time.strftime('%Y-%m-%d')}, load {load:.1f}"
    )
    print(
        f"medians of {ROUNDS[1]} and {ROUNDS[64]} rounds, of the time that the thread computed; whole in "
        f"fp32: {1e3 * whole[1]:.2f} ms at batch 1, {1e3 * whole[64]:.1f} ms at 64\n"
    )
    print(
        "| | MACs | fp32, batch 1 | fp32, batch 64 | int8, batch 1 | int8, batch 64 |\n|---|---|---|---|---|---|"
    )
    example = torch.zeros(1, *SHAPE)
    for name, network in variants.items():
        speeds = [
            f"{whole[size] / times[size][key]:.2f}x"
            for key in (name, f"{name}, int8")
            for size in (1, 64)
        ]
        work = count_macs(variants["whole"], example) / count_macs(network, example)
        print(f"| {name} | {work:.2f}x | {' | '.join(speeds)} |")


if __name__ == "__main__":
    main()

"""What a compression is worth in the runtime that is shipped: latency of ResNets for 32x32, interleaved, in one run.

Pruned without regard to blocks, a network has less work and little less latency; aligned, it has both.

python benchmarks/bench_runtime.py
"""

import statistics
import tempfile
import warnings
from pathlib import Path

import torch

from espalier.errors import Notice
from espalier.export.onnx import export
from espalier.export.runtime import Runtime
from espalier.measures.latency import interleaved, median_ratio
from espalier.measures.macs import count_macs
from espalier.models import build
from espalier.pruning import prune
from espalier.quantization import quantize
from espalier.steps.job import device_name

SHAPE, ROUNDS = (3, 32, 32), 30


def main() -> None:
    warnings.simplefilter("ignore", Notice)
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (64, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    whole = build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 56}).eval()
    networks = {"ResNet-56": whole}
    for align in (1, 8, 16):
        networks[f"half, align {align}"] = prune(whole, torch.zeros(2, *SHAPE), keep_macs=0.5, align=align)
    networks["ResNet-20"] = build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 20}).eval()
    print(f"{device_name(torch.device('cpu'))}, 1 thread, {ROUNDS} rounds, medians; times as fast as ResNet-56 fp32")
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for number, (name, network) in enumerate(networks.items()):
            path = Path(folder) / f"{number}.onnx"
            export(network, path, images[:4], (0.5,) * 3, (0.25,) * 3)
            runs[name] = Runtime(path).run
            quantize(path, path.with_suffix(".int8.onnx"), images.numpy(), calibration="minmax")
            runs[f"{name}, int8"] = Runtime(path.with_suffix(".int8.onnx")).run
        times = {size: interleaved(runs, images[:size].numpy(), ROUNDS) for size in (1, 64)}
    base = count_macs(whole, SHAPE)
    print(f"{'':24}{'MACs':>8}{'batch 1':>18}{'batch 64':>18}")
    for name in runs:
        work = base / count_macs(networks[name.removesuffix(", int8")], SHAPE)
        cells = [
            f"{1e3 * statistics.median(taken[name]):8.2f} ms {median_ratio(taken[name], taken['ResNet-56']):5.2f}x"
            for taken in times.values()
        ]
        print(f"{name:24}{work:7.2f}x{cells[0]:>18}{cells[1]:>18}")


if __name__ == "__main__":
    main()

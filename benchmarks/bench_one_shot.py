"""A trained network of others, cut and not trained: as it is, reconstructed at once, and layer after layer.

    python benchmarks/bench_one_shot.py CIFAR10 WEIGHTS [--write]

CIFAR10 holds `train.parquet` and `test.parquet`, WEIGHTS `resnet20-12fca82f.th` and `resnet56-4bfd9763.th` of
https://github.com/akamaster/pytorch_resnet_cifar10. As `espalier prune FILE --calibrate IMAGES` does: 1,024 training
images without labels; where layers are not fitted, the statistics of batch norms are computed anew on them.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_recovery import read_table
from committed import ROOT, conditions, place_table, read, show, source
from torch import Tensor, nn

from espalier.data.prepared import Split
from espalier.inputs.image import Normalize
from espalier.measures.macs import count_macs
from espalier.models import build
from espalier.models.trained import fit_weights, read_weights
from espalier.pruning import prune
from espalier.training.batches import Resident, in_order
from espalier.training.recalibrate import recalibrate
from espalier.training.scoring import Inference

EXAMPLE = ROOT / "examples" / "resnet56"
PAGE = ROOT / "docs" / "importing.md"
CPU = torch.device("cpu")
FRONT = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
NETWORKS = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}
KEEP = (0.7, 0.5)
IMAGES = 1024
WAYS = ("cut", "statistics", "reconstructed", "fitted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    sys.path.insert(0, str(EXAMPLE))
    record = conditions("python benchmarks/bench_one_shot.py CIFAR10 WEIGHTS --write")
    train = read_table(given.cifar10 / "train.parquet")
    few = Resident(Split(train.inputs[:IMAGES], torch.zeros(IMAGES, dtype=torch.int64)), CPU)
    test = Inference(Resident(read_table(given.cifar10 / "test.parquet"), CPU), FRONT)
    record["rows"] = [
        row
        for depth, file in NETWORKS.items()
        for row in rows(depth, trained(depth, given.weights / file), few, test)
    ]
    show("one_shot", record, write=given.write)
    if given.write:
        place_table("one shot", table(), PAGE)


def trained(depth: int, weights: Path) -> nn.Module:
    """The network of the example with its weights."""
    network = build(
        "networks:resnet",
        classes=10,
        shape=(3, 32, 32),
        arguments={"depth": depth},
        trusted=("networks",),
    )
    fit_weights(network, read_weights(weights))
    return network.eval()


def rows(
    depth: int, network: nn.Module, few: Resident, test: Inference
) -> Iterator[dict[str, Any]]:
    """The accuracy of the whole network, and of each cut in each way."""
    example = torch.zeros(2, 3, 32, 32)
    whole = count_macs(network, example)
    accuracy = partial(percent, test)
    yield {"network": f"ResNet-{depth}", "macs": 1.0, "whole": accuracy(network)}
    for keep in KEEP:
        cut = partial(prune, network, example, keep_macs=keep, align=4)
        plain, reconstructed = cut(), cut(losses=partial(losses, few))
        started = time.process_time()
        fitted = cut(losses=partial(losses, few), reconstruct="layers")
        seconds = round(time.process_time() - started)
        row = {
            "network": f"ResNet-{depth}",
            "macs": round(count_macs(plain, example) / whole, 3),
            "cut": accuracy(plain),
        }
        recalibrate(plain, few, FRONT)
        recalibrate(reconstructed, few, FRONT)
        row |= {
            "statistics": accuracy(plain),
            "reconstructed": accuracy(reconstructed),
            "fitted": accuracy(fitted),
            "seconds": seconds,
        }
        print(row, flush=True)
        yield row


def losses(few: Resident, network: nn.Module) -> Iterator[Tensor]:
    """Something of the outputs: reconstruction only runs the network."""
    for batch in few.batches(in_order(IMAGES, 64)):
        yield network(FRONT(batch.inputs)).square().mean()


def percent(test: Inference, network: nn.Module) -> float:
    """Accuracy on the test images."""
    return round(100 * test.loss_and_score(network)[1], 1)


def table() -> str:
    """The committed results in Markdown."""
    record = read("one_shot")
    lines = [
        "| network | MACs | cut | and statistics of norms | reconstructed at once | each layer fitted | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in record["rows"]:
        if "whole" in row:
            lines.append(f"| {row['network']} | 100 % | {row['whole']:.1f} % | | | | |")
            continue
        figures = " | ".join(f"{row[way]:.1f} %" for way in WAYS)
        lines.append(
            f"| {row['network']} | {100 * row['macs']:.0f} % | {figures} | {row['seconds']} |"
        )
    return "\n".join([*lines, "", source(record)]) + "\n"


if __name__ == "__main__":
    main()

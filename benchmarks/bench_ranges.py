"""One step for each weight, without training: before and after ranges are made equal across layers.

    python benchmarks/bench_ranges.py PROJECT [--write]

PROJECT is what `bench_imported.py CIFAR10 WEIGHTS PROJECT --example packed` makes: a network of separable
convolutions for CIFAR-10, with its batch norms folded. Its 2,500 validation images judge.
"""

import argparse
import copy
import sys
from pathlib import Path

import torch
from committed import ROOT, conditions, place_table, read, show, source
from torch import nn

from espalier.data.names import VALIDATION
from espalier.folding import equalize_ranges
from espalier.making.job import Job
from espalier.params import read_params

PAGE = ROOT / "docs" / "methods.md"
FOLDED = "folded"
BITS = (8, 7, 6, 5)
# ranges that are tried, as fractions of the largest magnitude
SHRUNK = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    sys.path.insert(0, str(given.project))  # its networks.py
    record = conditions("python benchmarks/bench_ranges.py PROJECT --write")
    job = Job.of(given.project, FOLDED, read_params(given.project))
    data, folded = job.data, job.project.load(FOLDED)
    networks = {"folded": folded, "equal": equalize_ranges(folded, data.example())}

    def percent(network: nn.Module) -> float:
        return round(100 * data.validation.loss_and_score(network)[1], 1)

    record["images"] = len(data.stored(VALIDATION)[0])
    record["floats"] = percent(folded)
    record["bits"] = {
        bits: {name: percent(with_one_step(one, bits)) for name, one in networks.items()}
        for bits in BITS
    }
    show("ranges", record, write=given.write)
    if given.write:
        place_table("ranges", table(), PAGE)


@torch.no_grad()
def with_one_step(network: nn.Module, bits: int) -> nn.Module:
    """The network with each weight in multiples of one step, that of the least square error."""
    rounded = copy.deepcopy(network)
    levels = 2 ** (bits - 1) - 1
    for value in rounded.parameters():
        if value.ndim > 1:
            steps = [fraction * value.abs().max() / levels for fraction in SHRUNK]
            tried = [(value / step).round().clamp(-levels, levels) * step for step in steps]
            value.copy_(min(tried, key=lambda one: float((one - value).square().sum())))
    return rounded


def table() -> str:
    """The committed result in Markdown."""
    record = read("ranges")
    lines = [
        "| bits | as folded | with equal ranges |",
        "|---|--:|--:|",
        f"| floats | {record['floats']:.1f} % | {record['floats']:.1f} % |",
    ]
    for bits, found in record["bits"].items():
        lines.append(f"| {bits} | {found['folded']:.1f} % | {found['equal']:.1f} % |")
    return "\n".join([*lines, "", source(record)]) + "\n"


if __name__ == "__main__":
    main()

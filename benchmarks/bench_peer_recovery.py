"""Cut and recovered by Espalier and by torch-pruning: accuracy at half and three tenths of the work.

    pip install --no-deps torch-pruning==1.6.1 --target FOLDER
    PYTHONPATH=FOLDER python benchmarks/bench_peer_recovery.py DATA [--work WORK] [--write]

DATA holds the folders `fashion-mnist` and `cifar10`. A ResNet-8 that was taught for 12 epochs (`bench_recovery.py`)
is cut, and recovers for `EPOCHS` epochs on the same images with the same recipe. Espalier's cuts are reconstructed and
taught by the teacher less and less, as `by: prune` does; torch-pruning's learn the labels, as in its examples. WORK
keeps each result in a line.
"""

import argparse
import copy
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from bench_recovery import EPOCHS as PARENT_EPOCHS
from bench_recovery import SOURCES, Data, Study, read_lines, teacher_of
from committed import RESULTS, ROOT, conditions, place_table, read, show, source
from scipy.stats import t
from torch import nn
from torch.nn import functional as F

from espalier.measures.macs import count_macs
from espalier.pruning import prune
from espalier.training.batches import in_order
from espalier.training.recalibrate import recalibrate

try:
    import torch_pruning as tp
except ImportError:  # the table can be made without it
    tp = None

EPOCHS, KEEP = 4, (0.5, 0.3)
HALVINGS = 12  # of the interval in which torch-pruning's ratio is searched
SEEDS = 3
OURS = "Espalier"
PAGE = ROOT / "docs" / "methods.md"


def ours(study: Study, keep: float, score: str, *, reconstruct: bool = True) -> nn.Module:
    """The parent, cut by Espalier."""
    parent = study.parent(PARENT_EPOCHS)
    cut = prune(
        parent,
        study.data.example,
        keep_macs=keep,
        score=score,
        align=1,
        losses=study.losses,
        base=parent,
        reconstruct=reconstruct,
    )
    recalibrate(cut, study.data.train, study.data.front)
    return cut


def theirs(study: Study, keep: float, kind: str) -> nn.Module:
    """The parent, cut by torch-pruning to the largest network of at most that fraction of the work."""
    parent, example = study.parent(PARENT_EPOCHS), study.data.example[:1]
    most = keep * count_macs(parent, example)
    low, high, best = 0.0, 0.97, None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        smaller = _torch_prune(study, copy.deepcopy(parent), middle, kind)
        if count_macs(smaller, example) > most:
            low = middle
        else:
            high, best = middle, smaller
    if best is None:
        raise SystemExit(f"Expected a ratio that leaves at most {keep} of the work; found none.")
    return best


def _torch_prune(study: Study, network: nn.Module, ratio: float, kind: str) -> nn.Module:
    importance = {
        "magnitude": partial(tp.importance.GroupMagnitudeImportance, p=2),
        "Taylor": tp.importance.GroupTaylorImportance,
        "group norm": partial(tp.importance.GroupMagnitudeImportance, p=2, normalizer="max"),
    }[kind]
    pruner = tp.pruner.GroupNormPruner if kind == "group norm" else tp.pruner.MagnitudePruner
    for weight in network.parameters():
        weight.requires_grad_(True)
    cut = pruner(
        network.eval(),
        study.data.example[:1],
        importance(),
        global_pruning=True,
        pruning_ratio=ratio,
        ignored_layers=[one for one in network.modules() if isinstance(one, nn.Linear)],
    )
    if kind == "Taylor":
        _fill_gradients(study, network)
    cut.step()
    network.zero_grad(set_to_none=True)
    return network


def _fill_gradients(study: Study, network: nn.Module) -> None:
    """Gradients of the loss on the images that Espalier's score reads."""
    network.zero_grad()
    for batch in study.data.train.batches(in_order(2048, 128)):
        inputs = study.data.front(study.data.augment(0, batch.inputs, batch.index))
        F.cross_entropy(network(inputs), batch.targets).backward()


TAUGHT: dict[str, Any] = {"soft": 0.9, "fades": True}
LABELS: dict[str, Any] = {"soft": 0.0}
# how each cut is made, and what it recovers by
WAYS: dict[str, tuple[Callable[[Study, float], nn.Module], dict[str, Any]]] = {
    OURS: (partial(ours, score="magnitude"), TAUGHT),
    f"{OURS}, Taylor": (partial(ours, score="taylor"), TAUGHT),
    f"{OURS}, not reconstructed": (partial(ours, score="magnitude", reconstruct=False), TAUGHT),
    f"{OURS}, labels": (partial(ours, score="magnitude"), LABELS),
    "torch-pruning, magnitude": (partial(theirs, kind="magnitude"), LABELS),
    "torch-pruning, Taylor": (partial(theirs, kind="Taylor"), LABELS),
    "torch-pruning, group norm": (partial(theirs, kind="group norm"), LABELS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, help="keeps results, so that a second call goes on")
    parser.add_argument("--sources", nargs="+", default=SOURCES, choices=SOURCES)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    if tp is None:
        raise SystemExit(
            "Expected torch-pruning, with which this benchmark compares; found none: "
            "pip install --no-deps torch-pruning==1.6.1 --target FOLDER, and put FOLDER on PYTHONPATH."
        )
    work = given.work or Path(tempfile.mkdtemp(prefix="peers-"))
    work.mkdir(parents=True, exist_ok=True)
    for name in given.sources:
        command = f"python benchmarks/bench_peer_recovery.py DATA --sources {name} --write"
        record = conditions(command) | {"torch_pruning": tp.__version__, "epochs": EPOCHS}
        for seed in range(SEEDS):
            measure(given.data, name, seed, work)
        record |= summary(read_lines(work, name))
        show(f"peer_recovery/{name}", record, write=given.write)
    if given.write:
        place_table("peer recovery", table(), PAGE)


def measure(folder: Path, name: str, seed: int, work: Path) -> None:
    """Measure all ways of one data set and seed that have no line yet."""
    done = {(line["seed"], line["way"], line["keep"]) for line in read_lines(work, name)}
    study = Study(
        Data(folder, name, seed), teacher_of(folder, name, work), work / f"bank-{name}-{seed}", seed
    )
    parent = study.measure(study.parent(PARENT_EPOCHS))
    for keep in KEEP:
        for way, (make, teaching) in WAYS.items():
            if (seed, way, keep) in done:
                continue
            started = time.process_time()
            network = study.train(make(study, keep), study.objective(**teaching), EPOCHS)
            figures = study.measure(network)
            line = {"seed": seed, "way": way, "keep": keep, "parent": parent["test"], **figures}
            line["macs"] = figures["macs"] / parent["macs"]
            with (work / f"{name}.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(name, line, f"{time.process_time() - started:.0f} s", flush=True)


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy of each way at each size, and its points above `OURS`, by seed."""
    found: dict[str, Any] = {"parent": _mean(line["parent"] for line in lines)}
    for keep in KEEP:
        at = [line for line in lines if line["keep"] == keep]
        reference = {line["seed"]: line["test"] for line in at if line["way"] == OURS}
        found[str(keep)] = {
            way: _row([line for line in at if line["way"] == way], reference) for way in WAYS
        }
    return found


def _row(lines: list[dict[str, Any]], reference: dict[int, float]) -> dict[str, Any]:
    gains = [round(line["test"] - reference[line["seed"]], 2) for line in lines]
    return {
        "macs": round(statistics.mean(line["macs"] for line in lines), 3),
        "test": _mean(line["test"] for line in lines),
        "above": gains,
        "mean_above": _mean(gains),
        "interval": round(
            t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains)), 2
        ),
    }


def _mean(values: Iterable[float]) -> float:
    return round(statistics.mean(values), 2)


def table() -> str:
    """The committed results in Markdown."""
    lines = [
        "| data | work | way | test | against Espalier's default, 95 % interval | by seed |",
        "|---|--:|---|--:|--:|---|",
    ]
    sources = []
    for name in SOURCES:
        if not (RESULTS / "peer_recovery" / f"{name}.json").is_file():
            continue
        record = read(f"peer_recovery/{name}")
        sources.append(source(record))
        lines += [_line(name, way, row) for keep in KEEP for way, row in record[str(keep)].items()]
    return "\n".join([*lines, "", *sources]) + "\n"


def _line(name: str, way: str, row: dict[str, Any]) -> str:
    above = seeds = ""
    if any(row["above"]):
        above = f"{row['mean_above']:+.2f} ± {row['interval']:.2f}"
        seeds = ", ".join(f"{gain:+.2f}" for gain in row["above"])
    work = f"{100 * row['macs']:.0f} %"
    return f"| {name} | {work} | {way} | {row['test']:.2f} % | {above} | {seeds} |"


if __name__ == "__main__":
    main()

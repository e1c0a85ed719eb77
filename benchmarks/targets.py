"""The targets, and what was measured: the table of docs/benchmarks.md, written from the committed results.

python benchmarks/targets.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench_bytes import NAMES, best_within
from bench_peers import NETWORKS, fastest
from committed import Record, place_table, read

Figure = Callable[[Record], float]


@dataclass(frozen=True)
class Target:
    """A figure of a committed result, and the bound that it should keep.

    Attributes:
        claim: what is measured, and beside what.
        file: name of the result without its suffix.
        figure: reads the figure from the result.
        least: smallest value that meets the target; None for no such bound.
        most: largest value that meets it.
        unit: what is written behind the figure.
    """

    claim: str
    file: str
    figure: Figure
    least: float | None = None
    most: float | None = None
    unit: str = ""

    def row(self) -> str:
        """The row of the table."""
        record = read(self.file)
        value = round(self.figure(record), 2)
        wanted = f"at least {self.least:g}" if self.most is None else f"at most {self.most:g}"
        is_met = (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )
        cells = (
            self.claim,
            f"{wanted}{self.unit}",
            f"{value:g}{self.unit}",
            "met" if is_met else "**missed**",
            f"`{record['command']}`",
            f"{record['device']}, {record['date']}",
        )
        return f"| {' | '.join(cells)} |"


def percent(*keys: str) -> Figure:
    """The share at a place of a result, in percent."""
    share = at(*keys)
    return lambda record: 100 * share(record)


def at(*keys: str) -> Figure:
    """The figure at a place of a result."""

    def figure(record: Record) -> float:
        found: Any = record
        for key in keys:
            found = found[key]
        return float(found)

    return figure


def ratio(*keys: str, over: tuple[str, ...]) -> Figure:
    """The figure at a place of a result over that at another."""
    upper, lower = at(*keys), at(*over)
    return lambda record: upper(record) / lower(record)


def beside_peer(quantity: str) -> Figure:
    """The ratio of our speed or bytes to those of torch-pruning's fastest way, at equal work."""

    def figure(record: Record) -> float:
        best, own = (record["ways"][way]["ratios"] for way in fastest(record["ways"]))
        if quantity == "speed":
            return float(own["speed"][0] / best["speed"][0])
        return float(own[quantity] / best[quantity])

    return figure


def constant(value: float) -> Figure:
    """The figure that was chosen already."""
    return lambda record: value


def above_peers(keep: float) -> Figure:
    """The accuracy of our recovered cut above that of torch-pruning's best way, in points."""

    def figure(record: Record) -> float:
        ways = record[str(keep)]
        theirs = [row["mean_above"] for way, row in ways.items() if way.startswith("torch-pruning")]
        return float(-max(theirs))

    return figure


TARGETS = (
    *(
        Target(
            f"{words}, in {precision}",
            f"training/{precision}",
            at("speed", ways),
            least=least,
            unit="x",
        )
        for precision in ("float32", "bfloat16")
        for ways, words, least in (
            (
                "empty bank over in memory",
                "epoch of ResNet-56 teaching ResNet-20, empty bank, against the best loop without a bank",
                1.3,
            ),
            (
                "tree over plain",
                "one student and three recoveries, against a plain loop with a DataLoader",
                2,
            ),
            ("tree over in memory", "the same, against the best loop without a bank", 1.6),
        )
    ),
    Target(
        "training on images that are read from the disk batch by batch, against images in memory",
        "decoding",
        ratio("ways", "streamed", "training", over=("ways", "in memory", "training")),
        least=0.85,
        unit="x",
    ),
    *(
        Target(
            f"{network} at half its work, or as little as torch-pruning leaves: {words}, against its fastest way",
            f"peers/{network}",
            beside_peer(quantity),
            **bound,
            unit="x",
        )
        for quantity, words, bound in (
            ("speed", "speed", {"least": 1.0}),
            ("bytes", "file", {"most": 1.1}),
        )
        for network in NETWORKS
    ),
    *(
        Target(
            f"{name}, cut to {100 * keep:.0f} % of the work and recovered: accuracy above torch-pruning's best way",
            f"peer_recovery/{name}",
            above_peers(keep),
            least=0,
            unit=" points",
        )
        for name in ("fashion-mnist", "cifar10")
        for keep in (0.5, 0.3)
    ),
    Target(
        "ResNet-56 of others (93.39 % on CIFAR-10) at 2.1 times fewer multiply-accumulates: accuracy",
        "imported/half",
        percent("models", "half", "accuracy"),
        least=93.0,
        unit=" %",
    ),
    Target(
        "a network of 28 thousand weights for CIFAR-10, as a packed file: bytes",
        "imported/packed",
        at("models", "packed-last", "packed_bytes"),
        most=12_000,
        unit=" bytes",
    ),
    Target(
        "accuracy of the network in that file",
        "imported/packed",
        percent("models", "packed-last", "accuracy"),
        least=87.2,
        unit=" %",
    ),
    Target(
        "a network of 14 thousand weights for CIFAR-10, as a file of integers: bytes",
        "imported/small",
        at("models", "small-int8", "bytes"),
        most=25_000,
        unit=" bytes",
    ),
    Target(
        "accuracy of that file",
        "imported/small",
        percent("models", "small-int8", "accuracy"),
        least=87.2,
        unit=" %",
    ),
    *(
        Target(
            f"{what} in a packed file of at most {size:,} bytes: error",
            f"bytes/{line}",
            constant(best["test"]),
            most=most,
            unit=" %",
        )
        for what, size, most, lines in (
            ("MNIST", 1_000, 1.0, NAMES),
            ("MNIST", 2_500, 0.6, NAMES),
            ("MNIST", 6_000, 0.45, NAMES),
            ("LeNet-5 for MNIST", 1_500, 0.96, ["lenet5", "narrow_lenet5"]),
        )
        for line, best in [best_within(size, lines)]
    ),
    Target(
        "`espalier run` with nothing to do, Prefect's server embedded",
        "pipeline",
        at("median", "run, server of its own", "wall"),
        most=10,
        unit=" s",
    ),
    Target(
        "the same on a running server",
        "pipeline",
        at("median", "run, running server", "wall"),
        most=4,
        unit=" s",
    ),
    Target("`espalier show`", "pipeline", at("median", "show", "wall"), most=0.7, unit=" s"),
    *(
        Target(
            f"processor time of an entry of a run beside its training: {name}",
            "entry",
            at("processor_seconds", "entries of a run", name),
            most=3,
            unit=" s",
        )
        for name in ("student", "pruned", "int8")
    ),
    Target(
        "export of VGG-16 (138 million parameters): peak of memory over the weights",
        "entry",
        at("peak_over_weights", "export"),
        most=3,
        unit="x",
    ),
    Target(
        "`make run`, all ten stages (wanted of another machine, which took 117 s)",
        "digits",
        at("seconds", "first run"),
        most=70,
        unit=" s",
    ),
    Target(
        "a tree of six entries on two workers, against one worker",
        "fleet",
        at("ratio"),
        most=0.6,
        unit="x",
    ),
    Target(
        "a night with nothing new on workers",
        "fleet",
        at("night_with_nothing_new_seconds"),
        most=15,
        unit=" s",
    ),
    Target(
        "processor time of training with and without the copies that survive a kill, uncertain by several percent",
        "safety",
        at("ratio", "processor"),
        most=1.03,
        unit="x",
    ),
    Target(
        "processor time of a training that is checkpoints, hashes, flushes, locks and copies",
        "safety",
        percent("share", "processor"),
        most=3,
        unit=" %",
    ),
    Target(
        "time of a training that is spent there, waits for the disk included",
        "safety",
        percent("share", "wall"),
        most=3,
        unit=" %",
    ),
)


def table() -> str:
    """The table of all targets in Markdown."""
    head = [
        "| what | wanted | measured | | command | where and when |",
        "|---|--:|--:|---|---|---|",
    ]
    return "\n".join([*head, *(target.row() for target in TARGETS)]) + "\n"


def main() -> None:
    place_table("targets", table())


if __name__ == "__main__":
    main()

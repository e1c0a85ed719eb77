"""False passes of the gate on graded scores, where the true drop is the margin.

A drop is bounded by betting (`espalier.judging.bounded`). For three kinds of scores a population of
pairs (reference, model) is drawn once; its mean drop is the truth. Samples of it are judged with
that drop as the margin: every pass is a false one. `lossless` is how often a model passes the same
margin that has lost nothing.

    python benchmarks/simulate_bounded.py [--draws 2000] [--write]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from committed import conditions, show

from espalier.judging import bounded_drop

SIZES = (200, 1000, 3000, 10_000)
POPULATION = 1_000_000
Pairs = tuple[np.ndarray, np.ndarray]


def label_sets(random: np.random.Generator, count: int) -> Pairs:
    """Jaccard indices of sets of up to three labels: 3 % of the answers lose a label."""
    reference = random.choice([1.0, 2 / 3, 1 / 2, 1 / 3, 0.0], count, p=[0.7, 0.1, 0.1, 0.05, 0.05])
    loses = random.random(count) < 0.03
    return np.where(loses, reference / 2, reference), reference


def disasters(random: np.random.Generator, count: int) -> Pairs:
    """Overlaps of segments (IoU): 1 % of them lose everything, the others nothing."""
    reference = random.beta(18, 2, count)
    return np.where(random.random(count) < 0.01, 0.0, reference), reference


def tolerance_scores(random: np.random.Generator, count: int) -> Pairs:
    """Scores that fall linearly with the error, of answers with slightly larger errors."""
    error = np.abs(random.normal(0, 0.3, count))
    other = np.abs(random.normal(0, 0.31, count)) * 0.3 + error * 0.7 + 0.01
    return 1 - other.clip(max=1), 1 - error.clip(max=1)


SCORES: dict[str, Callable[[np.random.Generator, int], Pairs]] = {
    "label sets": label_sets,
    "IoU with 1 % disasters": disasters,
    "tolerance scores": tolerance_scores,
}


def passes(pairs: Pairs, size: int, draws: int, random: np.random.Generator) -> dict[str, float]:
    """The fractions of samples that pass at the true drop, for the model and for the reference."""
    scores, reference = pairs
    margin = float((reference - scores).mean())
    chosen = (random.integers(0, len(scores), size) for _ in range(draws))
    uppers = [bounded_drop(scores[rows], reference[rows])[0].high for rows in chosen]
    lossless = bounded_drop(reference[:size], reference[:size])[0].high <= margin
    return {
        "margin": margin,
        "passed": float(np.mean(np.array(uppers) <= margin)),
        "lossless": lossless,
    }


def main() -> None:
    """Print a row for each kind of scores and size; with `--write` also to the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    rows, started = [], time.monotonic()
    for name, draw in SCORES.items():
        random = np.random.default_rng(0)
        pairs = draw(random, POPULATION)
        for size in SIZES:
            found = {"scores": name, "n": size, **passes(pairs, size, given.draws, random)}
            rows.append(found)
            print(
                f"{name:24} n {size:6}: margin {found['margin']:.4f}, passed {found['passed']:.4f}"
            )
    record = conditions(f"python benchmarks/simulate_bounded.py --draws {given.draws} --write") | {
        "draws": given.draws,
        "standard_error": round((0.025 * 0.975 / given.draws) ** 0.5, 5),
        "seconds": round(time.monotonic() - started),
        "rows": rows,
    }
    show("simulate_bounded", record, write=given.write)


if __name__ == "__main__":
    main()

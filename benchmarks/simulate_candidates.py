"""How often a worse model is promoted if several candidates are judged on one test split.

Candidates lose 5 % of the teacher's answers and gain 2 %, so that the true drop of 3 points equals
the margin: passing is a false pass, and the candidate that is chosen is a worse one. `good`
candidates lose and gain 3.5 %. The answers of candidates are independent, or correlated because
they fail on the same examples.

    python benchmarks/simulate_candidates.py [--draws 4000] [--write]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from committed import conditions, read, show
from scipy.stats import norm

from espalier.judging import LEVEL, drop_interval, holm, non_inferior

MARGIN = 0.03
EXAMPLES = 1000
WORSE = (0.05, 0.02)  # probability of a lost and of a gained answer
GOOD = (0.035, 0.035)


@dataclass(frozen=True)
class Case:
    """A set of candidates: the number at the margin, the number of good ones, and the correlation of their answers."""

    worse: int
    good: int = 0
    correlation: float = 0.0

    @property
    def count(self) -> int:
        """Number of candidates."""
        return self.worse + self.good


CASES = (
    Case(1),
    Case(2),
    Case(5),
    Case(10),
    Case(20),
    Case(10, correlation=0.8),
    Case(5, good=5),
    Case(2, good=8),
)
Passes = Callable[[int, float], bool]
Decide = Callable[[list[int], Passes], set[int]]


def uncorrected(names: list[int], passes: Passes) -> set[int]:
    """The candidates that pass at 95 %."""
    return {name for name in names if passes(name, LEVEL)}


def bonferroni(names: list[int], passes: Passes) -> set[int]:
    """The candidates that pass with an equal part of the error each."""
    return {name for name in names if passes(name, 1 - (1 - LEVEL) / len(names))}


def step_down(names: list[int], passes: Passes) -> set[int]:
    """The candidates that pass by Holm's procedure."""
    return {name for name, level in holm(names, passes).items() if passes(name, level)}


RULES: dict[str, Decide] = {"none": uncorrected, "bonferroni": bonferroni, "holm": step_down}


def draw_counts(case: Case, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of lost and of gained answers (candidates,) in one test split."""
    shared = random.standard_normal(EXAMPLES)
    own = random.standard_normal((case.count, EXAMPLES))
    latent = case.correlation**0.5 * shared + (1 - case.correlation) ** 0.5 * own
    rates = np.array([WORSE] * case.worse + [GOOD] * case.good)
    lost = (latent < norm.ppf(rates[:, :1])).sum(1)
    gained = (latent > norm.isf(rates[:, 1:])).sum(1)
    return lost, gained


def upper_bounds(lost: np.ndarray, gained: np.ndarray, level: float) -> np.ndarray:
    """The upper bound of each drop; every table of counts is computed once."""
    tables, which = np.unique(np.stack([lost.ravel(), gained.ravel()]), axis=1, return_inverse=True)
    upper = drop_interval(tables[0], tables[1], EXAMPLES, level)[1]
    bounds: np.ndarray = upper[which].reshape(lost.shape)
    return bounds


def rates_of(case: Case, draws: int) -> dict[str, dict[str, float | None]]:
    """For each rule the chance that a worse candidate passes, and the part of the good ones that pass."""
    random = np.random.default_rng(case.count)
    counts = [draw_counts(case, random) for _ in range(draws)]
    lost, gained = (np.array(one) for one in zip(*counts, strict=True))
    levels = [1 - (1 - LEVEL) / parts for parts in range(1, case.count + 1)]
    bounds = {level: upper_bounds(lost, gained, level) for level in levels}
    found = {}
    for rule, decide in RULES.items():
        passed = np.zeros(lost.shape, bool)
        for draw in range(draws):

            def passes(name: int, level: float, draw: int = draw) -> bool:
                return non_inferior(float(bounds[level][draw, name]), MARGIN)

            passed[draw, list(decide(list(range(case.count)), passes))] = True
        worse, good = passed[:, : case.worse], passed[:, case.worse :]
        found[rule] = {
            "worse": float(worse.any(1).mean()),
            "good": float(good.mean()) if case.good else None,
        }
    return found


def table() -> str:
    """The table of docs/judging.md, from the committed results."""
    rows = read("simulate_candidates")["rows"]
    lines = [
        "| candidates at the margin | good ones | correlation | uncorrected | `holm` | good ones that pass: "
        "uncorrected, Bonferroni, `holm` |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        rates = row["rates"]
        power = ", ".join(f"{100 * (rates[rule]['good'] or 0):.0f} %" for rule in RULES)
        lines.append(
            f"| {row['worse']} | {row['good']} | {row['correlation']} | "
            f"{100 * rates['none']['worse']:.1f} % | {100 * rates['holm']['worse']:.1f} % | "
            f"{power if row['good'] else ''} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print a line for each case; with `--write` also write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    rows, started = [], time.monotonic()
    for case in CASES:
        rates = rates_of(case, given.draws)
        print(case, rates)
        rows.append({**asdict(case), "rates": rates})
    record = conditions(
        f"python benchmarks/simulate_candidates.py --draws {given.draws} --write"
    ) | {
        "draws": given.draws,
        "examples": EXAMPLES,
        "margin": MARGIN,
        "standard_error": round((0.025 * 0.975 / given.draws) ** 0.5, 5),
        "seconds": round(time.monotonic() - started),
        "rows": rows,
    }
    show("simulate_candidates", record, write=given.write)


if __name__ == "__main__":
    main()

"""`make faults`: thousands of deaths of stages at chosen calls, and the record of how they ended.

Every call that changes files is met once in each mode, then chains of deaths are drawn with seeds until
the wanted number is reached. `docs/reliability.json` gets the record; the table in `docs/reliability.md` and
the sentence in `README.md` are written from it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from faults.crash import record  # noqa: E402
from faults.crash.forks import MODES, Forks, build_shim  # noqa: E402
from faults.crash.scenarios import Result, Scenario, chains, each_call, play  # noqa: E402
from faults.crash.tree import STAGES, Tree  # noqa: E402

# a registration changes its database thousands of times, most of them in one transaction
_STEPS = {"register": 79}
_IN_ONE_MODE = ("register", "promote")  # their calls take turns in the modes: they take longest
_LENGTH = 8  # deaths in a chain
# share of the drawn deaths; a registration takes ten times as long as a model
_SHARES = {
    "prepare": 0.2,
    "make@teacher": 0.2,
    "make@student": 0.2,
    "make@pruned": 0.2,
    "make@int8": 0.12,
    "evaluate": 0.05,
    "register": 0.01,
    "promote": 0.02,
}


@dataclass
class Tally:
    """The results of one stage.

    Attributes:
        calls: calls of an undisturbed run that change files.
        scenarios: number of scenarios.
        deaths: attempts that were killed.
        differing: scenarios that ended differently from the undisturbed run.
        trained_again: epochs that were trained after a model was complete.
        problems: first sentences of the differing scenarios.
    """

    calls: int
    scenarios: int = 0
    deaths: int = 0
    differing: int = 0
    trained_again: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, scenario: Scenario, result: Result) -> None:
        """Add one scenario."""
        self.scenarios += 1
        self.deaths += result.deaths
        self.differing += bool(result.problems)
        self.trained_again += result.trained_again
        if result.problems:
            self.problems.append(f"{scenario}: {'; '.join(result.problems)}")


def scenarios(calls: dict[str, int], deaths: int, seed: int) -> Iterator[Scenario]:
    """Each call of each stage once in each mode, then chains; about as many deaths as wanted."""
    single = {}
    for stage in STAGES:
        modes = 1 if stage in _IN_ONE_MODE else len(MODES)
        single[stage] = list(each_call(stage, calls[stage], _STEPS.get(stage, 1), modes))
    yield from chain.from_iterable(single.values())
    left = max(0, deaths - sum(map(len, single.values())))
    for stage in STAGES:
        # a chain of eight loses about a third of its deaths to calls that a shorter repetition lacks
        count = round(1.5 * left * _SHARES[stage] / _LENGTH)
        yield from chains(stage, calls[stage], count, _LENGTH, seed)


def play_all(
    tree: Tree, planned: list[Scenario], forks: list[Forks], folder: Path
) -> dict[str, Tally]:
    """Play all scenarios, as many at a time as there are runners."""
    tallies = {stage: Tally(calls) for stage, calls in tree.calls.items()}
    free: SimpleQueue[tuple[int, Forks]] = SimpleQueue()
    for numbered in enumerate(forks):
        free.put(numbered)
    started = time.monotonic()

    def play_one(scenario: Scenario) -> tuple[Scenario, Result]:
        number, runner = free.get()
        try:
            return scenario, play(scenario, tree, runner, folder / f"at-{number}")
        finally:
            free.put((number, runner))

    with ThreadPoolExecutor(len(forks)) as pool:
        for done, (scenario, result) in enumerate(pool.map(play_one, planned), 1):
            tallies[scenario.stage].add(scenario, result)
            lines = [f"{scenario}: {problem}" for problem in result.problems]
            if done % 200 == 0:
                deaths = sum(tally.deaths for tally in tallies.values())
                seconds = time.monotonic() - started
                lines.append(
                    f"{done} of {len(planned)} scenarios, {deaths} deaths, {seconds:.0f} s"
                )
            _say(*lines)
    return tallies


def run(deaths: int, seed: int, runners: int) -> dict[str, Any]:
    """Run the campaign; returns its record."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        shim = build_shim(folder)
        if shim is None:
            sys.exit(
                "Expected Linux and a C compiler (`cc`) for `make faults`; found neither or one."
            )
        forks = [stack.enter_context(Forks(shim, folder / f"log-{one}")) for one in range(runners)]
        tree = Tree.grow(folder / "tree", ROOT / ".dvc" / "embedded", forks)
        planned = list(scenarios(tree.calls, deaths, seed))
        tallies = play_all(tree, planned, forks, folder)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": f"make faults DEATHS={deaths} SEED={seed}",
        "machine": record.processor(),
        "python": platform.python_version(),
        "commit": _commit(),
        "seed": seed,
        "runners": runners,
        "seconds": round(time.monotonic() - started),
        "stages": {stage: vars(tally) for stage, tally in tallies.items()},
    }


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deaths", type=int, default=10_000, help="about how many deaths")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn calls")
    parser.add_argument("--runners", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument(
        "--write", action="store_true", help="write docs/reliability.json and what follows"
    )
    given = parser.parse_args()
    found = run(given.deaths, given.seed, given.runners)
    _say(record.table(found))
    if given.write:
        (ROOT / record.RECORD).write_text(json.dumps(found, indent=2) + "\n")
        record.write_documents(ROOT, found)
    if any(tally["differing"] or tally["trained_again"] for tally in found["stages"].values()):
        sys.exit(
            "Expected every scenario to end like the undisturbed run; found others, see above."
        )


if __name__ == "__main__":
    main()

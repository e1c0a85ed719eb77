"""`make faults`: thousands of kills of stages at chosen calls, and the record of how they ended.

Every call that changes files is met once in each mode, then chains of kills are drawn with seeds until
the wanted number is reached. `docs/reliability.json` gets the record; the table in `docs/reliability.md` and
the sentence in `README.md` are written from it.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from faults.crash import record, whole_runs  # noqa: E402
from faults.crash.forks import MODES, Forks, build_shim  # noqa: E402
from faults.crash.scenarios import Result, Scenario, chains, each_call, play  # noqa: E402
from faults.crash.tree import STAGES, Tree  # noqa: E402
from faults.crash.whole_runs import REPRO, Runs, RunScenario  # noqa: E402

AnyScenario = Scenario | RunScenario

# a registration changes its database thousands of times, most of them in one transaction
_STEPS = {"register": 397}
_STEP_OF_RUNS = 19
_IN_ONE_MODE = (
    "evaluate",
    "register",
    "promote",
)  # their calls take turns in the modes: they take longest
_LENGTH = 24  # kills in a chain
_MISSED = 0.45  # share of them whose call a shorter repetition does not reach
_RUN_SHARE = 0.05  # of all kills, those of whole runs
# share of the drawn kills; a registration takes ten times as long as a model
_SHARES = {
    "prepare": 0.4,
    "make@teacher": 0.25,
    "make@student": 0.15,
    "make@pruned": 0.08,
    "make@int8": 0.1,
    "evaluate": 0.01,
    "register": 0.0,
    "promote": 0.01,
}


@dataclass
class Tally:
    """The results of one stage.

    Attributes:
        calls: calls of an undisturbed run that change files.
        scenarios: number of scenarios.
        kills: attempts that were killed.
        differing: scenarios that ended differently from the undisturbed run.
        trained_again: epochs that were trained after a model was complete.
        problems: first sentences of the differing scenarios.
    """

    calls: int
    scenarios: int = 0
    kills: int = 0
    differing: int = 0
    trained_again: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, scenario: AnyScenario, result: Result) -> None:
        """Add one scenario."""
        self.scenarios += 1
        self.kills += result.kills
        self.differing += bool(result.problems)
        self.trained_again += result.trained_again
        if result.problems:
            self.problems.append(f"{scenario}: {'; '.join(result.problems)}")


def scenarios(calls: dict[str, int], kills: int, seed: int) -> Iterator[Scenario]:
    """Each call of each stage once in each mode, then chains; about as many kills as wanted."""
    single = {}
    for stage in STAGES:
        modes = 1 if stage in _IN_ONE_MODE else len(MODES)
        single[stage] = list(each_call(stage, calls[stage], _STEPS.get(stage, 1), modes))
    yield from chain.from_iterable(single.values())
    left = max(0, kills - sum(map(len, single.values())))
    for stage in STAGES:
        count = round(left * _SHARES[stage] / _LENGTH / (1 - _MISSED))
        yield from chains(stage, calls[stage], count, _LENGTH, seed)


def whole_run_scenarios(runs: Runs, kills: int, seed: int) -> Iterator[RunScenario]:
    """Calls of DVC once each, then chains; about as many kills as wanted."""
    single = list(whole_runs.each_call(runs.calls, _STEP_OF_RUNS))
    yield from single
    count = round(max(0, kills - len(single)) / _LENGTH / (1 - _MISSED))
    yield from whole_runs.chains(runs, count, _LENGTH, seed)


def play_all(
    planned: list[AnyScenario],
    play_one: Callable[[AnyScenario, Forks, Path], Result],
    tallies: dict[str, Tally],
    forks: list[Forks],
    minutes: float,
) -> None:
    """Play scenarios, as many at a time as there are runners, and add them to the tallies.

    Args:
        planned: the scenarios.
        play_one: plays one on a runner, in a folder.
        tallies: the results, by stage.
        forks: the runners.
        minutes: time after which no further scenario begins.
    """
    free: SimpleQueue[Forks] = SimpleQueue()
    for runner in forks:
        free.put(runner)
    started = time.monotonic()

    def play_on_a_free_runner(scenario: AnyScenario) -> Result | None:
        if time.monotonic() - started > 60 * minutes:
            return None
        runner = free.get()
        try:
            return play_one(scenario, runner, runner.log.with_suffix(".project"))
        except (
            OSError,
            ValueError,
            KeyError,
        ) as error:  # the comparison found no such file, or no JSON
            return Result(problems=[f"{type(error).__name__}: {error}"])
        finally:
            free.put(runner)

    with ThreadPoolExecutor(len(forks)) as pool:
        results = pool.map(play_on_a_free_runner, planned)
        for done, (scenario, result) in enumerate(zip(planned, results, strict=True), 1):
            if result is None:
                continue
            tallies[scenario.stage].add(scenario, result)
            lines = [f"{scenario}: {problem}" for problem in result.problems]
            if done % 50 == 0:
                kills = sum(tally.kills for tally in tallies.values())
                seconds = time.monotonic() - started
                lines.append(f"{done} of {len(planned)} scenarios, {kills} kills, {seconds:.0f} s")
            _say(*lines)


def run(
    kills: int, seed: int, runners: int, minutes: float, only_runs: bool = False
) -> dict[str, Any]:
    """Run the campaign; returns its record.

    Args:
        kills: about how many kills.
        seed: seed of the drawn calls.
        runners: scenarios at a time.
        minutes: time after which none begins.
        only_runs: whether all kills are those of whole runs.
    """
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
        runs = Runs.prepare(folder / "runs", tree, ROOT / "dvc.yaml", forks)
        tallies = {
            stage: Tally(calls) for stage, calls in [*tree.calls.items(), (REPRO, runs.calls)]
        }

        def play_one(scenario: AnyScenario, runner: Forks, at: Path) -> Result:
            if isinstance(scenario, RunScenario):
                return whole_runs.play(scenario, runs, tree, runner, at)
            return play(scenario, tree, runner, at)

        of_runs = kills if only_runs else round(_RUN_SHARE * kills)
        planned: list[AnyScenario] = [*whole_run_scenarios(runs, of_runs, seed)]
        if not only_runs:
            planned += scenarios(tree.calls, kills - of_runs, seed)
        random.Random(seed).shuffle(planned)
        play_all(planned, play_one, tallies, forks, minutes)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": f"make faults KILLS={kills} SEED={seed} MINUTES={minutes:g}"
        + " MORE='--only-runs --add'" * only_runs,
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
    parser.add_argument("--kills", type=int, default=10_000, help="about how many kills")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn calls")
    parser.add_argument("--runners", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--minutes", type=float, default=inf, help="after which none begins")
    parser.add_argument(
        "--write", action="store_true", help="write docs/reliability.json and what follows"
    )
    parser.add_argument("--only-runs", action="store_true", help="kill whole runs alone")
    parser.add_argument("--add", action="store_true", help="add to the record that is there")
    given = parser.parse_args()
    found = run(given.kills, given.seed, given.runners, given.minutes, given.only_runs)
    if given.add:
        found = record.add(json.loads((ROOT / record.RECORD).read_text()), found)
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

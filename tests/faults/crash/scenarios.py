"""Scenarios: a stage is killed at chosen calls, repeated, and compared with an undisturbed run."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faults.crash.forks import KILLED, MODES, Attempt, Forks
from faults.crash.tree import Tree, differences, is_complete, output_of

EPOCHS = {"make@teacher": 3, "make@student": 3, "make@pruned": 2}


@dataclass(frozen=True)
class Kill:
    """A kill at the `at`-th call that changes files, in one of the shim's modes."""

    at: int
    mode: str


@dataclass(frozen=True)
class Scenario:
    """A stage, and the kills of its attempts, one after another."""

    stage: str
    kills: tuple[Kill, ...]


@dataclass
class Result:
    """The end of a scenario.

    Attributes:
        kills: attempts that were killed; a call that a shorter repetition did not reach kills nothing.
        problems: sentences; empty if all is as in an undisturbed run.
        trained_again: epochs that were trained after the model was complete.
    """

    kills: int = 0
    problems: list[str] = field(default_factory=list)
    trained_again: int = 0


def each_call(stage: str, calls: int, step: int = 1, modes: int = len(MODES)) -> Iterator[Scenario]:
    """Scenarios with one kill, at each call of a stage.

    Args:
        stage: name of the stage.
        calls: number of its calls that change files.
        step: distance of the calls.
        modes: modes in which each call is met; the calls take turns in them.
    """
    for number, at in enumerate(range(1, calls + 1, step)):
        for mode in range(modes):
            yield Scenario(stage, (Kill(at, MODES[(number + mode) % len(MODES)]),))


def chains(stage: str, calls: int, count: int, length: int, seed: int) -> Iterator[Scenario]:
    """Scenarios whose repetitions are killed as well, at calls that are drawn with a seed."""
    drawn = random.Random(f"{stage} {seed}")
    for _ in range(count):
        kills = [Kill(draw_call(drawn, calls), drawn.choice(MODES)) for _ in range(length)]
        yield Scenario(stage, tuple(kills))


def draw_call(drawn: random.Random, calls: int) -> int:
    """A call to be killed at; early ones more often, because a repetition has less left to do."""
    return drawn.randint(1, max(1, calls // drawn.choice((1, 2, 4))))


def play(scenario: Scenario, tree: Tree, forks: Forks, at: Path) -> Result:
    """Kill a stage as a scenario says, repeat it to its end, and compare."""
    root, stage, result = tree.start(scenario.stage, at), scenario.stage, Result()
    epochs = 0
    for kill in (*scenario.kills, Kill(0, "kill")):
        was_complete = is_complete(root, stage)
        attempt = _attempt(root, stage, forks, kill)
        epochs += attempt.epochs
        result.trained_again += attempt.epochs * was_complete
        result.kills += attempt.status == KILLED
        if attempt.status not in (0, KILLED):
            result.problems.append(f"status {attempt.status}: {attempt.output[-500:]}")
    result.problems += [
        f"other bits: {name}" for name in differences(stage, root, tree.undisturbed)
    ]
    # a kill repeats at most the epoch that it meets
    if epochs > EPOCHS.get(stage, 0) + result.kills:
        result.problems.append(f"{epochs} epochs with {result.kills} kills")
    if stage in ("register", "promote"):
        result.problems += _registry_problems(root, stage, tree, forks)
    return result


def _attempt(root: Path, stage: str, forks: Forks, kill: Kill) -> Attempt:
    output = output_of(stage)
    if output:
        shutil.rmtree(root / output, ignore_errors=True)  # as DVC does
    return forks.run(root, stage, kill.at, kill.mode)


def _registry_problems(root: Path, stage: str, tree: Tree, forks: Forks) -> list[str]:
    """Doubled versions, absent aliases, and moves that are left open."""
    found = forks.run(root, "audit").value
    if not isinstance(found, dict):
        return ["the registry cannot be read"]
    expected = forks.run(tree.undisturbed, "audit").value
    problems = []
    if found["versions"] != expected["versions"]:
        problems.append(f"versions {found['versions']}, expected {expected['versions']}")
    wanted = _by_alias(expected, with_champion=stage == "promote")
    if _by_alias(found, with_champion=stage == "promote") != wanted:
        problems.append(f"aliases {found['aliases']}, expected {expected['aliases']}")
    if "open" in found["moves"] or found["moves"].count("done") > expected["moves"].count("done"):
        problems.append(f"moves {found['moves']}")
    return problems


def _by_alias(registry: dict[str, dict[str, str]], *, with_champion: bool) -> dict[str, str]:
    """The content hash of each alias: versions of a disturbed run may have other numbers."""
    aliases = registry["aliases"].items()
    kept = {alias: registry["content"][version] for alias, version in aliases}
    if not with_champion:
        kept.pop("champion", None)
    return kept

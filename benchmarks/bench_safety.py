"""The cost of what makes a run safe: checkpoints, hashes, flushes, locks, and copies until DVC has recorded.

    python benchmarks/bench_safety.py --data FOLDER [--write]

The teacher, a distilled student, a pruned and a quantized one are made of Fashion-MNIST's files in FOLDER, in turn
as users get them and with all of these switched off, each time in a new project and process. Processor time
is compared, because it does not depend on what else runs; the wall time is recorded beside it. The ratio of two
trainings is uncertain by several percent, more than what is sought; so the processor time within all that
is switched off is measured as well, in the trainings that have it, as a share of the whole.
"""

import argparse
import functools
import json
import os
import pkgutil
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from committed import conditions, show

from espalier.commands import make
from espalier.data.prepare import prepare
from espalier.data.prepared import file_name
from espalier.data.sources import import_data
from espalier.files import read_manifest
from espalier.settings.data import DataSettings

ROUNDS = 5
PARAMS = """\
seed: 0
trusted: []
training: {batch_size: 128, threads: 1}
teacher: {model: "espalier:resnet", arguments: {depth: 8, width: 8}, epochs: 1}
models:
  student: {from: teacher, by: distill, model: "espalier:resnet", arguments: {depth: 8, width: 4}, epochs: 1}
  pruned: {from: student, by: prune, keep_macs: 0.6, align: 1, finetune: {epochs: 1}}
  int8: {from: student, by: quantize}
"""
NAMES = ("teacher", "student", "pruned", "int8")


def _names_only(folder: Path, *_: Any, nested: bool = False, **__: Any) -> dict[str, str]:
    """The files of a sealed folder without a look at their content."""
    return dict.fromkeys(read_manifest(folder, nested=nested), "0" * 64)


def _found_by_name(folder: Path, stem: str, suffix: str) -> list[Path]:
    """The files of the bank, which must be found in both ways: without it the teacher answers again."""
    return sorted(folder.glob(f"{stem}-{'?' * 32}{suffix}"))


# all that only serves safety, with the nothing that replaces it
SAFETY: dict[str, Callable[..., Any]] = {
    "espalier.training.checkpoint.Checkpoints.write": lambda *_: None,
    "espalier.files.sha256": lambda _: "0" * 64,
    "espalier.files.find_hashed": _found_by_name,
    "espalier.data.prepared._checked": lambda folder, split: folder / file_name(split),
    "espalier.files.verify": _names_only,
    "espalier.files.os.fsync": lambda _: None,
    "espalier.making.job.Job.refuse_changed_inputs": lambda _: None,
    "espalier.making.kept.Kept.keep": lambda *_: None,
    "espalier.commands.make.hold_stage": lambda *_: nullcontext(),
    "espalier.commands.make.keep_record": lambda _: None,
}


class Share:
    """The seconds within some functions; a call within another is counted once.

    Attributes:
        processor: seconds of the processor.
        wall: seconds of the clock, waits for the disk included.
    """

    def __init__(self) -> None:
        self.processor, self.wall, self._depth = 0.0, 0.0, 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time added."""

        @functools.wraps(function)
        def wrapper(*given: Any, **named: Any) -> Any:
            self._depth += 1
            wall, processor = time.perf_counter(), _processor_seconds()
            try:
                return function(*given, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.wall += time.perf_counter() - wall
                    self.processor += _processor_seconds() - processor

        return wrapper


def make_tree(root: Path, *, safe: bool) -> dict[str, float]:
    """Make all models in this process; the seconds that they took, and those within all that is safety."""
    os.environ["DVC_STAGE"] = "make"  # so that copies are kept, as under DVC
    share = Share()
    for name, nothing in SAFETY.items():
        patch(name, share.timed(pkgutil.resolve_name(name)) if safe else nothing).start()
    wall, spent = time.perf_counter(), _processor_seconds()
    for name in NAMES:
        make.run(root, name)
    return {
        "wall": time.perf_counter() - wall,
        "processor": _processor_seconds() - spent,
        "safety_wall": share.wall,
        "safety_processor": share.processor,
    }


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(data: Path, rounds: int) -> dict[str, Any]:
    """Interleaved rounds of both ways, after one round that is not counted."""
    measured = conditions(
        f"python benchmarks/bench_safety.py --data FOLDER --rounds {rounds} --write"
    )
    ways: dict[str, list[dict[str, float]]] = {"safe": [], "off": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        work = folder / "work"
        import_data("fashion-mnist", folder / "data", data, work, DataSettings())
        prepare(folder / "data", folder / "prepared", DataSettings(), workshop=work)
        for number in range(rounds + 1):
            for way in ("safe", "off") if number % 2 else ("off", "safe"):
                found = _in_process(folder, way)
                if number:
                    ways[way].append(found)
    return measured | {
        "rounds": rounds,
        "ways": ways,
        "ratio": {key: _ratio(ways, key) for key in ("processor", "wall")},
        "share": {key: _share(ways["safe"], key) for key in ("processor", "wall")},
    }


def _in_process(folder: Path, way: str) -> dict[str, float]:
    root = folder / way
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "prepared", root / "prepared")
    (root / "params.yaml").write_text(PARAMS)
    command = [sys.executable, __file__, "--make", str(root), "--way", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ratio(ways: dict[str, list[dict[str, float]]], key: str) -> float:
    """Median of the ratios of neighbouring rounds, safe to switched off."""
    pairs = zip(ways["safe"], ways["off"], strict=True)
    return round(statistics.median(safe[key] / off[key] for safe, off in pairs), 4)


def _share(rounds: list[dict[str, float]], key: str) -> float:
    """Median of the shares of a training that are safety."""
    return round(statistics.median(one[f"safety_{key}"] / one[key] for one in rounds), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the files of Fashion-MNIST")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        print(json.dumps(make_tree(given.make, safe=given.way == "safe")))
        return
    if given.data is None:
        parser.error("expected --data FOLDER")
    found = measure(given.data, given.rounds)
    show("safety", found, write=given.write)


if __name__ == "__main__":
    main()

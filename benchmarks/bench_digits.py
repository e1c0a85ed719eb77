"""The tree of the README on the embedded digits: its table, and the seconds of a first and of a second run.

python benchmarks/bench_digits.py [--write]
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from espalier.measures.device import processor_name

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        call(Path(folder), "espalier", "init", "digits", "--recipe", "digits")
        project = Path(folder) / "digits"
        seconds = [timed_run(project) for _ in range(2)]
        table = (project / "reports" / "models.csv").read_text()
        shown = call(project, "espalier", "show")
        champion = call(project, "espalier", "models")
        if given.write:
            (RESULTS / "digits.csv").write_text(table)
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/bench_digits.py --write",
        "device": processor_name(),
        "processors": os.cpu_count(),
        "load_before": round(load, 2),
        "seconds": {"first run": round(seconds[0], 1), "second run": round(seconds[1], 1)},
    }
    print(shown, champion, json.dumps(result, indent=2), sep="\n")
    if given.write:
        (RESULTS / "digits.json").write_text(json.dumps(result, indent=2) + "\n")


def timed_run(project: Path) -> float:
    """Seconds of `espalier run`."""
    started = time.perf_counter()
    call(project, "espalier", "run")
    return time.perf_counter() - started


def call(folder: Path, *command: str) -> str:
    """The output of a command."""
    program = shutil.which(command[0])
    if program is None:
        raise SystemExit(f"Expected {command[0]} on PATH; found none: activate the environment.")
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(
            f"Expected `{' '.join(command)}` to succeed; found:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


if __name__ == "__main__":
    main()

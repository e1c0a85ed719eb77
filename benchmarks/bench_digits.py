"""The tree of the README on the embedded digits: its table, and the seconds of a first and of a second run.

python benchmarks/bench_digits.py [--write]
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from committed import RESULTS, conditions, show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    measured = conditions("python benchmarks/bench_digits.py --write")
    with tempfile.TemporaryDirectory() as folder:
        call(Path(folder), "espalier", "init", "digits", "--recipe", "digits")
        project = Path(folder) / "digits"
        seconds = [timed_run(project) for _ in range(2)]
        table = (project / "reports" / "models.csv").read_text()
        shown = call(project, "espalier", "show")
        champion = call(project, "espalier", "models")
        if given.write:
            (RESULTS / "digits.csv").write_text(table)
    first, second = (round(one, 1) for one in seconds)
    print(shown, champion, sep="\n")
    result = measured | {"seconds": {"first run": first, "second run": second}}
    show("digits", result, write=given.write)


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

"""`make faults-runs`: runs of `espalier run` whose processes are killed, stopped and paused, and the record of that.

A scenario is a project whose runs are disturbed a few times and repeated until one ends well. All processes
are real, so that one takes minutes; they are played one after another.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from math import inf
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from faults.crash import flow_record, record  # noqa: E402
from faults.crash.disturbances import draw  # noqa: E402
from faults.crash.flow_runs import Result, plant_project, play  # noqa: E402

_LENGTH = 4  # disturbances of a scenario


def run(projects: int, seed: int, minutes: float) -> dict[str, Any]:
    """Play the scenarios; returns their record."""
    begun, results = time.monotonic(), list[Result]()
    drawn = draw(projects * _LENGTH, seed)
    with tempfile.TemporaryDirectory(prefix="flow-runs-") as temporary:
        folder = Path(temporary)
        start = plant_project(folder / "start", ROOT / ".dvc" / "embedded", ROOT / "dvc.yaml")
        undisturbed = folder / "undisturbed"
        result = play([], start, undisturbed, undisturbed)
        if result.problems or result.attempts != 1:
            sys.exit(f"Expected an undisturbed run to end well; found {result}.")
        _say(f"undisturbed after {time.monotonic() - begun:.0f} s")
        for number in range(projects):
            if time.monotonic() - begun > 60 * minutes:
                break
            root = folder / str(number)
            result = play(drawn[number::projects], start, undisturbed, root)
            results.append(result)
            _say(_described(number, result, time.monotonic() - begun))
            shutil.rmtree(root, ignore_errors=True)
    met = Counter((one.process, one.act) for result in results for one in result.met)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": f"make faults-runs PROJECTS={projects} SEED={seed} MINUTES={minutes:g}",
        "machine": record.processor(),
        "python": platform.python_version(),
        "seed": seed,
        "seconds": round(time.monotonic() - begun),
        "projects": len(results),
        "runs": sum(result.attempts for result in results),
        "met": [{"process": one, "act": act, "count": count} for (one, act), count in met.items()],
        "differing": sum(bool(result.problems) for result in results),
        "trained_again": sum(result.trained_again for result in results),
        "problems": [problem for result in results for problem in result.problems],
    }


def _described(number: int, result: Result, seconds: float) -> str:
    met = "; ".join(f"{one.process} {one.act} after `{one.moment}`" for one in result.met)
    lines = [f"project {number}: {result.attempts} runs, {seconds:.0f} s so far: {met}"]
    return "\n".join([*lines, *(f"  {problem}" for problem in result.problems)])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=int, default=60, help="number of scenarios")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn disturbances")
    parser.add_argument("--minutes", type=float, default=inf, help="after which none begins")
    parser.add_argument(
        "--write", action="store_true", help=f"write {flow_record.RECORD} and what follows"
    )
    given = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the registries are those of the projects
    found = run(given.projects, given.seed, given.minutes)
    _say(flow_record.sentence(found))
    _say(flow_record.table(found))
    if given.write:
        (ROOT / flow_record.RECORD).write_text(json.dumps(found, indent=2) + "\n")
        flow_record.write_documents(ROOT, found)
    if found["differing"] or found["trained_again"]:
        sys.exit("Expected every project to end like the undisturbed one; found others, see above.")


if __name__ == "__main__":
    main()

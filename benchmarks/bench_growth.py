"""How cost grows with images, entries and parameters: seconds and peaks of memory per command.

    python benchmarks/bench_growth.py FASHION_MNIST [--parts images entries parameters] [--write]

**images**: `espalier data`, `prepare`, a teacher of one epoch and `evaluate`, on parquet files with the first 1,000,
10,000 and 60,000 images of Fashion-MNIST as PNG. **entries**: a first `espalier run`, one with nothing to do, and
`espalier show`, in a tree of 5, 20 and 100 entries on the digits. **parameters**: perceptrons of 10^5 to 10^8 weights,
saved, exported and opened; peaks in multiples of the weights. `exponent` is that of the power of the size that the
seconds follow between the two largest: 1 is linear, less has a part that does not grow.
"""

import argparse
import gzip
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from committed import conditions, place_table, read, show, source
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-c", "from espalier.flows.cli import main; main()"]
IMAGES = (1_000, 10_000, 60_000)
ENTRIES = (5, 20, 100)
WIDTHS = {10**5: 180, 10**6: 850, 10**7: 3_000, 10**8: 9_800}
# Linux counts the memory of the process that starts a command as the command's own: this one is small
LAUNCHER = """\
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
ONE_TEACHER = """\
training: {batch_size: 64, threads: 1}
teacher: {model: "espalier:resnet", arguments: {depth: 8, width: 8}, epochs: 1}
evaluation: {rounds: 3}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the files of Fashion-MNIST")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    torch.set_num_threads(1)
    command = "python benchmarks/bench_growth.py FASHION_MNIST --write"
    result = read("growth") | conditions(command)  # parts that are not measured stay
    for name in given.parts:
        with tempfile.TemporaryDirectory() as folder:
            rows = PARTS[name](Path(folder), given.data)
        result[name] = {"rows": rows, "exponent": exponents(rows)}
    show("growth", result, write=given.write)
    if given.write:
        place_table("growth", table())


def table() -> str:
    """The committed result in Markdown: a table for each part."""
    record = read("growth")
    parts = "\n".join(_table_of(name, record[name]) for name in PARTS)
    return f"{parts}\n{source(record)}\n"


def _table_of(part: str, found: dict[str, Any]) -> str:
    rows: dict[str, dict[str, dict[str, float]]] = found["rows"]
    head = " | ".join(f"{int(size):,}" for size in rows)
    lines = [f"| {part} | {head} | exponent |", f"|---|{'--:|' * (len(rows) + 1)}"]
    for name, exponent in found["exponent"].items():
        cells = " | ".join(_cell(row[name]) for row in rows.values())
        lines.append(f"| {name} | {cells} | {exponent:.2f} |")
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, float]) -> str:
    if "megabytes" in found:
        return f"{found['seconds']:.1f} s, {found['megabytes']:,.0f} MB"
    if "peak_over_weights" in found:
        return f"{found['seconds']:.2f} s, {found['peak_over_weights']:.1f}x"
    return f"{found['seconds']:.1f} s"


def exponents(rows: dict[int, dict[str, dict[str, float]]]) -> dict[str, float]:
    """The exponent of each command's seconds between the two largest sizes."""
    smaller, larger = sorted(rows)[-2:]
    growth = math.log(larger / smaller)
    return {
        name: round(
            math.log(rows[larger][name]["seconds"] / rows[smaller][name]["seconds"]) / growth, 2
        )
        for name in rows[larger]
    }


def call(root: Path, *words: str) -> dict[str, float]:
    """Wall time of a command in seconds, and the largest peak of memory among its processes in MB."""
    environment = os.environ | QUIET | {"PYTHONPATH": str(ROOT)}
    launch = [sys.executable, "-S", "-c", LAUNCHER, *PROGRAM, *words]
    began = time.perf_counter()
    done = subprocess.run(
        launch, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 1):  # 1: no model of one epoch passes the gates
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    peak = int(done.stdout.rpartition("peak ")[2])
    return {"seconds": round(seconds, 2), "megabytes": round(peak / 1000)}


def grow_images(folder: Path, data: Path) -> dict[int, Any]:
    """Each stage on more and more images."""
    images, labels = read_fashion_mnist(data)
    return {
        count: of_images(folder / str(count), images[:count], labels[:count]) for count in IMAGES
    }


def of_images(root: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Each stage on some images."""
    source = root / "source"
    source.mkdir(parents=True)
    pandas.DataFrame({"image": map(png, images), "label": labels}).to_parquet(
        source / "all.parquet"
    )
    (root / "params.yaml").write_text(ONE_TEACHER)
    calls = {"data": ("data", str(source)), "prepare": ("prepare",)}
    calls |= {"one epoch": ("make", "teacher"), "evaluate": ("evaluate",)}
    return {name: call(root, *words) for name, words in calls.items()}


def read_fashion_mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training images and their labels."""
    images = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    return pixels, np.frombuffer(labels, np.uint8, offset=8).astype(int)


def png(image: np.ndarray) -> dict[str, bytes]:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return {"bytes": content.getvalue()}


def grow_entries(folder: Path, _data: Path) -> dict[int, Any]:
    """Runs of larger and larger trees."""
    return {count: of_entries(folder / str(count), count) for count in ENTRIES}


def of_entries(root: Path, count: int) -> dict[str, Any]:
    """A first run of a tree, one with nothing to do, and its table."""
    root.parent.mkdir(parents=True, exist_ok=True)
    call(root.parent, "init", str(root), "--recipe", "digits")
    entry = '{from: teacher, by: distill, model: "espalier:resnet", arguments: {depth: 8, width: 4}, epochs: 1}'
    models = "".join(f"  student-{number}: {entry}\n" for number in range(count))
    params = f"seed: 0\ntrusted: []\ndata: {{}}\n{ONE_TEACHER}models:\n{models}registry: {{name: many}}\n"
    (root / "params.yaml").write_text(params)
    calls = {"first run": ("run",), "nothing to do": ("run",), "show": ("show",)}
    return {name: {"seconds": call(root, *words)["seconds"]} for name, words in calls.items()}


def grow_parameters(folder: Path, _data: Path) -> dict[int, Any]:
    """Saving, exporting and opening of wider and wider perceptrons, each in a process of its own."""
    return {size: of_parameters(folder / str(size), width) for size, width in WIDTHS.items()}


def of_parameters(folder: Path, width: int) -> dict[str, Any]:
    """Seconds of each act on one network, and its peak over the weights beyond what libraries take."""
    folder.mkdir()
    read, write = os.pipe()
    if (process := os.fork()) == 0:
        with os.fdopen(write, "w") as pipe:
            json.dump(acts_on(folder, width), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        content = pipe.read()
    os.waitpid(process, 0)
    shutil.rmtree(folder)
    found: dict[str, Any] = json.loads(content)
    return found


def acts_on(folder: Path, width: int) -> dict[str, Any]:
    """The acts, in this process."""
    from bench_entry import _status

    from espalier.export.onnx import export
    from espalier.inputs.image import Normalize
    from espalier.models import build, save
    from espalier.runtimes import DEFAULT

    torch.manual_seed(0)
    front, pixels = Normalize((0.5,), (0.25,)), torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    small = build("espalier:mlp", classes=10, shape=(1, 28, 28)).eval()
    export(small, folder / "small.onnx", pixels, front)  # what is imported first is no copy
    before = _status("VmRSS")
    sizes = {"hidden": [width, width]}
    network = build("espalier:mlp", classes=10, shape=(1, 28, 28), arguments=sizes).eval()
    size = sum(parameter.nbytes for parameter in network.parameters())
    path = folder / "model.onnx"
    acts: dict[str, Callable[[], Any]] = {
        "save": lambda: save(network, folder / "model"),
        "export": lambda: export(network, path, pixels, front),
        "open": lambda: DEFAULT.open(path),
    }
    found = {}
    for name, act in acts.items():
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        began = time.perf_counter()
        act()
        seconds = time.perf_counter() - began
        peak = (_status("VmHWM") - before) / size
        found[name] = {"seconds": round(seconds, 3), "peak_over_weights": round(peak, 2)}
    return found


PARTS: dict[str, Callable[[Path, Path], dict[int, Any]]] = {
    "images": grow_images,
    "entries": grow_entries,
    "parameters": grow_parameters,
}

if __name__ == "__main__":
    main()

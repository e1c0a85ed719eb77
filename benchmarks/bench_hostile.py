"""The memory and the time in which hostile files are refused, each in a process of its own.

Writes `benchmarks/results/hostile.json`. Memory is the growth of the peak of the resident memory after all
imports; of a file that another process runs or decodes, the whole of that process. Seconds are of the processor, of
all processes, and include their start.

    python benchmarks/bench_hostile.py
"""

import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import hostile_data  # noqa: E402
import hostile_onnx  # noqa: E402
import torch  # noqa: E402
from damage import OTHERS  # noqa: E402

from espalier import files  # noqa: E402
from espalier.coding import pack  # noqa: E402
from espalier.models import build, save  # noqa: E402
from espalier.settings import limits  # noqa: E402

MEMORY, SECONDS = 300, 2.0  # MB, and seconds beyond imports
LAUGHS = "\n".join(
    ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
)
CHILD = """
import json, os, resource, sys, time, warnings
from pathlib import Path
import numpy, pandas, pyarrow.parquet, soundfile, torch, onnx
from espalier.coding import unpack
from espalier.data.prepare import prepare
from espalier.errors import EspalierError
from espalier.files import read_json_object, verify
from espalier.gates import read_policies
from espalier.limited import LimitedProcess
from espalier.limited.process import _close_idle
from espalier.models import build, load
from espalier.models.onnx_import import read_onnx
from espalier.models.trained import read_weights
from espalier.params import read_params
from espalier.records import LineageRecord, read_csv, read_record
from espalier.runtimes import DEFAULT
warnings.simplefilter("ignore")
with torch.device("meta"):  # torch imports a part of itself at the first use
    build("espalier:resnet", classes=10, shape=(1, 8, 8))
inputs = numpy.ones((4, 1, 8, 8), numpy.uint8)
others = [0]  # peaks of other processes, as a whole
close = LimitedProcess.close
def closing(process):
    others.append(peak(process.pid))
    close(process)
LimitedProcess.close = closing
def guarded(path):
    with DEFAULT.open_guarded(path) as model:
        model.outputs(inputs)
def data(path):
    prepare(path, path.with_name("prepared"), workshop=path.with_name("work"))
CALLS = {
    "data": data, "onnx": guarded, "import": lambda path: read_onnx(path, (1, 8, 8)), "folder": load,
    "packed": unpack, "params": lambda path: read_params(path.parent), "gates": read_policies,
    "json": read_json_object, "lineage": lambda path: read_record(path, LineageRecord),
    "csv": lambda path: read_csv(path, ("step",)), "weights": read_weights, "manifest": verify,
}
def peak(pid="self"):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
def call(kind, place):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began, wall = peak(), cpu(), time.monotonic()
    text = ""
    try:
        CALLS[kind](Path(place))
    except EspalierError as error:
        text = str(error)
    except BaseException as error:
        text = f"not refused: {type(error).__name__} {error}"
    _close_idle()
    found = max(peak() - before, *others), cpu() - began, time.monotonic() - wall, text
    print(json.dumps(found), flush=True)
for kind, place in json.load(sys.stdin):
    child = os.fork()  # a process of its own, after the imports
    if not child:
        call(kind, place)
        os._exit(0)
    os.waitpid(child, 0)
"""


def text(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """A function that writes one file into a folder."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def large(name: str, size: int) -> Callable[[Path], Path]:
    """A function that writes a file of zeros, without blocks on the disk."""

    def write(folder: Path) -> Path:
        with (folder / name).open("wb") as file:
            file.truncate(size)
        return folder / name

    return write


def packed(header: bytes) -> bytes:
    """A packed file of a header and no weights, with the right checksum."""
    deflate = zlib.compressobj(9, wbits=-15)
    content = deflate.compress(header) + deflate.flush()
    length, size = bytearray(), len(content)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    body = b"esp\x01" + bytes([*length, size]) + content + b"\0" + bytes(64)
    return body + zlib.crc32(body).to_bytes(4, "little")


def zeros(folder: Path) -> Path:
    """A packed file of zeros as its writer makes it without a bound on its bits."""
    network = build("espalier:mlp", classes=10, shape=(1, 8, 8), arguments={"hidden": [4000]})
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
    limits.CODED_BITS = 2**40
    pack(network, folder / "a.espalier")
    return folder / "a.espalier"


def model(change: dict[str, object]) -> Callable[[Path], Path]:
    """A function that writes a sealed model whose architecture says something else than its weights."""

    def write(folder: Path) -> Path:
        tiny = build(
            "espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 8, "width": 2}
        )
        save(tiny, folder / "model")
        path = folder / "model" / "architecture.json"
        content = json.loads(path.read_text()) | {"edits": []} | change
        files.write_json(path, content)
        files.seal(folder / "model")
        return folder / "model"

    return write


def manifest(name: str) -> Callable[[Path], Path]:
    """A function that writes a model whose manifest names a file elsewhere."""

    def write(folder: Path) -> Path:
        place = model({})(folder)
        content = json.loads((place / "manifest.json").read_text())
        content["files"][name] = {"sha256": "0" * 64, "bytes": 1}
        (place / "manifest.json").write_text(json.dumps(content))
        return place

    return write


def data(write: Callable[[Path], None]) -> Callable[[Path], Path]:
    """A function that writes a folder of data."""

    def written(folder: Path) -> Path:
        write(folder / "data")
        return folder / "data"

    return written


def onnx(name: str) -> Callable[[Path], Path]:
    """A function that writes an ONNX file."""
    return lambda folder: hostile_onnx.write(hostile_onnx.FILES[name](), folder / "model.onnx")


def header(length: int) -> bytes:
    """Safetensors whose header says its own length."""
    return length.to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[' + b"9" * 100


CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    **{f"data: {name}": ("data", data(write)) for name, (write, _) in hostile_data.FOLDERS.items()},
    **{f"ONNX, run: {name}": ("onnx", onnx(name)) for name in hostile_onnx.FILES},
    **{f"ONNX, imported: {name}": ("import", onnx(name)) for name in hostile_onnx.FILES},
    **{f"ONNX, other content {n}": ("onnx", text("model.onnx", one)) for n, one in enumerate(OTHERS)},
    **{f"weights, other content {n}": ("weights", text("a.pt", one)) for n, one in enumerate(OTHERS)},
    "network of 4.6 GB": ("folder", model({"arguments": {"width": 2000}})),
    "network of 10^7 channels": ("folder", model({"arguments": {"width": 10**7}})),
    "network of 6 * 10^7 layers": ("folder", model({"arguments": {"depth": 6 * 10**7 + 2}})),
    "network of 2^30 classes": ("folder", model({"classes": 2**30})),
    "network of another package": ("folder", model({"factory": "os:system"})),
    "manifest with a path": ("manifest", manifest("../../evil.txt")),
    "manifest of 200 MB": ("json", large("manifest.json", 200_000_000)),
    "packed: header of 600 MB": ("packed", text("a.espalier", packed(b" " * 600_000_000))),
    "packed: wide network": (
        "packed",
        text("a.espalier", packed(b'["espalier:resnet", 10, [1, 8, 8], {"width": 100000}]')),
    ),
    "packed: 300,000 weights in a few bytes": ("packed", zeros),
    "JSON of empty lists": ("json", text("a.json", "[" + "[]," * 20_000_000 + "[]]")),
    "JSON of empty mappings": ("json", text("a.json", "[" + "{}," * 20_000_000 + "{}]")),
    "JSON of deep lists": ("json", text("a.json", "[" * 10_000_000)),
    "JSON with a long number": ("lineage", text("lineage.json", '{"seconds": ' + "9" * 10**6 + "}")),
    "CSV of commas": ("csv", text("history.csv", "," * 60_000_000)),
    "CSV of lines": ("csv", text("history.csv", "\n" * 60_000_000)),
    "CSV of quotes": ("csv", text("history.csv", '"' + "x" * 60_000_000)),
    "YAML laughs": ("params", text("params.yaml", LAUGHS)),
    "YAML of a circle": ("params", text("params.yaml", "a: &a [*a]")),
    "YAML of deep lists": ("params", text("params.yaml", "a: " + "[" * 100_000)),
    "YAML of commas": ("params", text("params.yaml", "a: [" + "a," * 500_000 + "a]")),
    "YAML of 8 GB": ("params", large("params.yaml", 2**33)),
    "YAML that names a function": ("gates", text("gates.yaml", "a: !!python/name:os.system ''")),
    "safetensors with a long header": ("weights", text("a.safetensors", header(2**40))),
    "safetensors of 40 GB": ("weights", large("a.safetensors", 40 * 2**30)),
}  # fmt: skip


def measure(folder: Path) -> dict[str, dict[str, Any]]:
    """The memory in MB, the seconds and the sentence of each case."""
    places = []
    for number, (call, write) in enumerate(CASES.values()):
        own = folder / str(number)
        own.mkdir()
        places.append((call, str(write(own))))
    command = [sys.executable, "-W", "ignore", "-c", CHILD]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        input=json.dumps(places),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    lines = map(json.loads, done.stdout.splitlines())
    return {
        name: {
            "refused": sentence.startswith("Expected ") or "Expected " in sentence,
            "lines": sentence.count("\n") + 1,
            "mb": round(memory / 1024, 1),
            "seconds": round(seconds, 2),
            "wall": round(wall, 2),
            "sentence": sentence.replace(str(folder), "...")[:300],
        }
        for name, (memory, seconds, wall, sentence) in zip(CASES, lines, strict=True)
    }


def main() -> None:
    """Measure all cases and write them."""
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder))
    refused = [one for one in results.values() if one["refused"]]
    summary = {
        "files": len(results),
        "refused": len(refused),
        "in one line": sum(one["lines"] == 1 for one in refused),
        "largest mb": max(one["mb"] for one in refused),
        "longest seconds": max(one["seconds"] for one in refused),
        "limit mb": MEMORY,
        "limit seconds": SECONDS,
    }
    content = {"summary": summary, "cases": results}
    path = ROOT / "benchmarks" / "results" / "hostile.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(summary)


if __name__ == "__main__":
    main()

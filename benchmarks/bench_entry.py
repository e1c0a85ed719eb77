"""The floor of one entry: processor time beside training, and memory of the export of a large network.

    python benchmarks/bench_entry.py [--write]

Parts of the floor are measured in new processes, each after the parts before it, because an import is paid once.
Counting of multiply-accumulates, and optimizers, are measured in turn as here and as torch has them. The floor of an
entry is the time of `espalier make` with one epoch, less that of one epoch: the time with eleven less that with one,
over ten; once in processes of their own, as of `dvc repro`, and once as `espalier run` makes them, in forks of a
process that has imported everything, whose own time is `imports of a run`. Peaks of memory are those of VGG-16, in
multiples of the bytes of its weights; the network itself is one of them.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import psutil
import torch
from committed import conditions, show
from make_digits import main as make_digits
from torch import Tensor, nn

from espalier.data.prepare import prepare
from espalier.export.onnx import export, write
from espalier.inputs.image import Normalize
from espalier.measures.macs import count_macs
from espalier.models import build, save
from espalier.runtimes import DEFAULT
from espalier.settings.data import DataSettings
from espalier.tasks.environment import stage_environment
from espalier.tasks.graph import Stage
from espalier.tasks.project import Project, TimeLimits
from espalier.tasks.warm import warm_process
from espalier.training.optimizers import optimizer
from espalier.training.recipe import Recipe

ROUNDS = 3
EPOCHS = (1, 11)
PARAMS = """\
training: {{batch_size: 64, threads: 1}}
teacher: {{model: "espalier:resnet", arguments: {{depth: 8, width: 8}}, epochs: {epochs}}}
models:
  student: {{from: teacher, by: distill, model: "espalier:resnet", arguments: {{depth: 8, width: 4}}, epochs: {epochs}}}
  pruned: {{from: student, by: prune, keep_macs: 0.6, align: 1, finetune: {{epochs: {epochs}}}}}
  int8: {{from: student, by: quantize}}
"""
NAMES = ("teacher", "student", "pruned", "int8")
IMPORTS = {"torch": "import torch", "make": "import espalier.commands.make"}


def small() -> tuple[nn.Module, Tensor]:
    """A network of the size of the digits' students, and an input."""
    torch.manual_seed(0)
    network = build(
        "espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 8, "width": 8}
    )
    return network.eval(), torch.zeros(2, 1, 8, 8)


def counted_by_torch(network: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates by torch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    network.requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(example[:1])
    return int(counter.get_total_flops()) // 2


def stepped(network: nn.Module, example: Tensor, torchs: bool) -> None:
    """One step of an optimizer."""
    stepping = (
        torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True)
        if torchs
        else optimizer(network, Recipe())
    )
    network(example).square().mean().backward()
    stepping.step()


def exported(network: nn.Module, example: Tensor) -> None:
    """The file, saved and compared, as `make` does."""
    with tempfile.TemporaryDirectory() as folder:
        pixels = example.to(torch.uint8)
        export(network, Path(folder, "model.onnx"), pixels, Normalize((0.5,), (0.25,)))
        save(network, Path(folder, "model"))


# measured parts, each in a new process, by the name of the part: here, and as torch has it
PARTS: dict[str, dict[str, Callable[..., Any]]] = {
    "count": {"ours": count_macs, "torch": counted_by_torch},
    "first step": {
        "ours": partial(stepped, torchs=False),
        "torch": partial(stepped, torchs=True),
    },
    "export and save": {"ours": exported},
}


def part(name: str, way: str) -> float:
    """Seconds of the processor of a part, in this process."""
    network, example = small()
    if name == "first step":
        network.train()
    before = spent()
    PARTS[name][way](network, example)
    return spent() - before


def spent(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def python(*arguments: str, folder: Path | None = None) -> tuple[float, str]:
    """Seconds of the processor of a Python process, and the last line that it prints."""
    before = spent(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    last = done.stdout.strip().rpartition("\n")[2]
    return spent(resource.RUSAGE_CHILDREN) - before, last


def median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def measure_parts(rounds: int) -> dict[str, Any]:
    """The parts of the floor; both ways of a part in turn."""
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    found: dict[str, dict[str, list[float]]] = {
        name: {way: [] for way in ways} for name, ways in PARTS.items()
    }
    for _ in range(rounds):
        for name, line in IMPORTS.items():
            imports[name].append(python("-c", f"import gc; gc.disable(); {line}")[0])
        for name, ways in found.items():
            for way, values in ways.items():
                values.append(float(python(__file__, "--part", name, way)[1]))
    seconds = {
        name: {way: median(all_) for way, all_ in ways.items()} for name, ways in found.items()
    }
    ratios = {
        name: ways["ours"] / ways["torch"] for name, ways in seconds.items() if "torch" in ways
    }
    return {
        "import": {name: median(values) for name, values in imports.items()},
        **seconds,
        "ratio": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def measure_entries(folder: Path, rounds: int) -> dict[str, Any]:
    """The processor time of each entry beside its training, in processes of its own and in a run."""
    make_digits(folder / "data")
    prepare(folder / "data", folder / "prepared", DataSettings(), workshop=folder / "work")
    imports: list[float] = []
    alone: dict[str, list[float]] = {name: [] for name in NAMES}
    in_a_run: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        _add(alone, {epochs: _make_alone(folder, epochs) for epochs in EPOCHS})
        forked = {epochs: _make_in_a_run(folder, epochs) for epochs in EPOCHS}
        _add(in_a_run, {epochs: seconds for epochs, (seconds, _) in forked.items()})
        imports += [spent for _, spent in forked.values()]
    return {
        "entries": {name: median(values) for name, values in alone.items()},
        "entries of a run": {name: median(values) for name, values in in_a_run.items()},
        "imports of a run": median(imports),
    }


def _add(found: dict[str, list[float]], seconds: dict[int, dict[str, float]]) -> None:
    """Add the floor of each entry: its time without that of its epochs."""
    few, more = EPOCHS
    for name, values in found.items():
        first, second = seconds[few][name], seconds[more][name]
        epoch = (second - first) / (more - few) if name != "int8" else 0.0
        values.append(first - epoch)


def _project(folder: Path, epochs: int) -> Path:
    """A new project with the prepared digits."""
    root = Path(tempfile.mkdtemp(dir=folder))
    (root / "prepared").symlink_to(folder / "prepared")
    (root / "params.yaml").write_text(PARAMS.format(epochs=epochs))
    return root


def _make_alone(folder: Path, epochs: int) -> dict[str, float]:
    """Seconds of the processor of each entry, in a process of its own."""
    root = _project(folder, epochs)
    return {name: python("-m", "espalier", "make", name, folder=root)[0] for name in NAMES}


def _make_in_a_run(folder: Path, epochs: int) -> tuple[dict[str, float], float]:
    """Seconds of the processor of each entry and of all imports, in forks of one process."""
    root = _project(folder, epochs)
    project = Project(root, (), TimeLimits())
    seconds = {}
    with warm_process(project, [Stage(f"model@{name}") for name in NAMES]):
        children = psutil.Process().children()
        server = next(one for one in children if "espalier.warm.server" in one.cmdline())
        environment = stage_environment() | project.variables
        imports = _imported(server)
        for name in NAMES:
            before = spent(resource.RUSAGE_CHILDREN) + _of_forks(server)
            call = ["espalier", "make", name]
            subprocess.run(call, cwd=root, env=environment, check=True, capture_output=True)
            seconds[name] = spent(resource.RUSAGE_CHILDREN) + _of_forks(server) - before
    return seconds, imports


def _imported(server: psutil.Process) -> float:
    """Wait until a process is idle; the seconds of the processor that it has taken."""
    while True:
        before = sum(server.cpu_times()[:2])
        time.sleep(1)
        if sum(server.cpu_times()[:2]) == before > 0:
            return float(before)


def _of_forks(server: psutil.Process) -> float:
    return float(sum(server.cpu_times()[2:4]))


def memory() -> dict[str, float]:
    """Peaks of writing, of checking and of saving VGG-16, over the bytes of its weights, in this process."""
    torch.manual_seed(0)
    front = Normalize((0.5,) * 3, (0.25,) * 3)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    squeezenet = build("torchvision:squeezenet1_0", classes=10, shape=(3, 224, 224)).eval()
    with tempfile.TemporaryDirectory() as folder:  # what is imported and compiled first is no copy
        export(squeezenet, Path(folder, "model.onnx"), pixels, front)
    before = _status("VmRSS")
    network = build("torchvision:vgg16", classes=1000, shape=(3, 224, 224)).eval()
    size = sum(parameter.nbytes for parameter in network.parameters())
    peaks: dict[str, float] = {"bytes": size, "libraries": round(before / size, 2)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        acts: dict[str, Callable[[], Any]] = {
            "network": lambda: None,
            "save": lambda: save(network, Path(folder, "model")),
            "write": lambda: write(network, path, pixels, front),
            "open": lambda: DEFAULT.open(path),
            "export": lambda: export(network, path, pixels, front),
        }
        for name, act in acts.items():
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            act()
            peaks[name] = round((_status("VmHWM") - before) / size, 2)
    return peaks


def _status(name: str) -> int:
    """A size in bytes that Linux knows of this process."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return 1024 * int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.part:
        print(part(*given.part))
        return
    if given.memory:
        print(json.dumps(memory()))
        return
    measured = conditions(f"python benchmarks/bench_entry.py --rounds {given.rounds} --write")
    with tempfile.TemporaryDirectory() as folder:
        entries = measure_entries(Path(folder), given.rounds)
    result = measured | {
        "onnxruntime": onnxruntime.__version__,
        "processor_seconds": {**entries, "parts": measure_parts(given.rounds)},
        "peak_over_weights": json.loads(python(__file__, "--memory")[1]),
    }
    show("entry", result, write=given.write)


if __name__ == "__main__":
    main()

"""A runner of stages, and the shim that ends them: built by the C compiler of the machine."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from faults.crash.stage_server import write_client

HERE = Path(__file__).resolve().parent
KILLED = -9
MODES = ("kill", "half", "power")  # in the order of the shim's numbers


def build_shim(folder: Path) -> Path | None:
    """Compile the shim; None on a machine without C compiler, or without preloading."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    shim = folder / "crash.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(shim), str(HERE / "shim.c"), "-ldl"]
    subprocess.run(command, check=True)
    return shim


@dataclass(frozen=True)
class Attempt:
    """The end of one attempt at a stage.

    Attributes:
        status: exit status; `KILLED` if it was killed at the chosen call.
        calls: calls that changed files, if it was not killed.
        value: result of an audit.
        epochs: epochs that it trained.
        output: what it printed.
    """

    status: int
    calls: int
    value: Any
    epochs: int
    output: str


@dataclass
class Forks:
    """A process with everything imported, whose forks run stages.

    Attributes:
        shim: the compiled shim.
        log: file for the output of a stage.
    """

    shim: Path
    log: Path
    _process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> "Forks":
        clients = self.log.with_name(f"{self.log.name}-clients")
        write_client(clients)
        variables = {
            **os.environ,
            "PATH": f"{clients}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "LD_PRELOAD": str(self.shim),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_TRACKING_URI": "",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "runner.py"), str(self.shim)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    def warm_up(self, modules: list[str]) -> None:
        """Import modules once, for all stages."""
        self._ask(modules=modules)

    def run(
        self, root: Path, stage: str, at: int = 0, mode: str = "kill", seconds: float = 0
    ) -> Attempt:
        """Run a stage, or `dvc repro`, to its end or until it is killed.

        Args:
            root: folder of the project.
            stage: name of the stage, or `repro`.
            at: number of the call, among all that change files in the project, at which it is killed; 0 for none.
            mode: one of `MODES`.
            seconds: time after which all processes of a `repro` are killed; 0 for none.
        """
        answer = self._ask(
            root=str(root),
            stage=stage,
            at=at,
            mode=MODES.index(mode),
            log=str(self.log),
            seconds=seconds,
        )
        output = self.log.read_text(errors="replace")
        epochs = sum('"epoch"' in line for line in output.splitlines())
        return Attempt(
            answer["status"], answer.get("calls", 0), answer.get("value"), epochs, output
        )

    def modules_of(self, root: Path, stage: str) -> list[str]:
        """Run a stage; returns the names of all modules that are imported then."""
        answer = self._ask(
            root=str(root), stage=stage, at=0, mode=0, log=str(self.log), modules_wanted=True
        )
        if answer["status"]:
            raise AssertionError(f"{stage}: {self.log.read_text(errors='replace')}")
        return list(answer["modules"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

"""Nothing is written or sent about the user: not by a command, and not when the library is imported."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from espalier.export.onnx import export
from espalier.inputs.image import Normalize

RUN = """
import sys, time
{first}
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {{session.get_inputs()[0].name: np.zeros((1, 1, 8, 8), np.uint8)}})
time.sleep(0.5)
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    path = tmp_path_factory.mktemp("deployed") / "model.onnx"
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    export(network, path, torch.zeros(2, 1, 8, 8, dtype=torch.uint8), Normalize([0.5], [0.5]))
    return path


def run(deployed, home, *, first, before=()):
    environment = {
        name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"
    }
    environment |= {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [*before, sys.executable, "-c", RUN.format(first=first), str(deployed)]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def test_onnx_runtime_writes_nothing_below_the_home_of_a_user_of_the_library(deployed, tmp_path):
    run(deployed, tmp_path, first="import espalier")
    assert list(tmp_path.rglob("*")) == []


def test_onnx_runtime_alone_does_so_that_the_test_above_tests_something(deployed, tmp_path):
    run(deployed, tmp_path, first="")
    if not list(tmp_path.rglob("deviceid")):
        pytest.skip("this build of ONNX Runtime has no telemetry")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_server_is_looked_up(deployed, tmp_path):
    log = tmp_path / "calls"
    home = tmp_path / "home"
    home.mkdir()
    before = ("strace", "-f", "-e", "trace=connect,sendto,sendmsg", "-o", str(log))
    run(deployed, home, first="import espalier", before=before)
    calls = [line for line in log.read_text().splitlines() if "AF_INET" in line]
    assert calls == []

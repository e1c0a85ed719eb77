"""Data from elsewhere whose headers lie, or that decode to gigabytes, are refused in bounded memory."""

import subprocess
import sys

import hostile_data
import numpy as np
import pytest

from espalier.bounded import bounded
from espalier.errors import BadInput

MEMORY = 300 * 2**20
SCRIPT = """
import sys, warnings
from pathlib import Path
import pandas, pyarrow.parquet, soundfile, torch
from espalier.data.prepare import prepare
from espalier.errors import BadInput
from espalier.limited import LimitedProcess
from espalier.limited.process import _close_idle
warnings.simplefilter("ignore")
def peak(pid="self"):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((1024 * int(one.split()[1]) for one in lines if one.startswith("VmHWM")), 0)
others = []  # peaks of the processes that decode, as a whole
close = LimitedProcess.close
def closing(one):
    others.append(peak(one.pid))
    close(one)
LimitedProcess.close = closing
for folder in map(Path, sys.argv[1:]):
    others.clear()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    try:
        prepare(folder, folder.with_suffix(".prepared"), workshop=folder.with_suffix(".work"))
    except BadInput as error:
        _close_idle()
        print(max([peak() - before, *others]), str(error).replace(chr(10), "<line>"))
"""


# what one leaves free, the next would use uncounted
_ALONE = ("repeated text", "repeated image", "repeated image in a large file")
_TOGETHER = tuple(name for name in hostile_data.FOLDERS if name not in _ALONE)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel limits memory on Linux alone")
@pytest.mark.parametrize("names", [*((name,) for name in _ALONE), _TOGETHER], ids=len)
def test_hostile_data_are_refused_with_little_memory(tmp_path, names):
    folders = [tmp_path / f"data{number}" for number in range(len(names))]
    for folder, name in zip(folders, names, strict=True):
        hostile_data.FOLDERS[name][0](folder)
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(folders), done.stdout
    for line, name in zip(lines, names, strict=True):
        memory, text = line.split(" ", 1)
        assert text.startswith("Expected "), (name, text)
        assert hostile_data.FOLDERS[name][1] in text, (name, text)
        assert "<line>" not in text, (name, text)
        assert int(memory) < MEMORY, (name, line)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel limits memory on Linux alone")
def test_the_bound_ends_with_its_block():
    with (
        pytest.raises(BadInput, match=r"a\.bin to decode in at most 64 MB"),
        bounded("a.bin", 2**26),
    ):
        np.ones(2**30, np.uint8)
    assert np.ones(2**27, np.uint8).sum() == 2**27

"""Decoders that crash, hang or take all memory end in a sentence about one file, and the others are read.

The faults are put into the libraries of the processes that decode, by a `sitecustomize` of their own: content
with a mark crashes with SIGSEGV, never ends, allocates a gigabyte, or is killed as by the kernel.
"""

import io
import os
import signal
import subprocess
import sys
import time
import warnings
import wave
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from properties import assert_explains

from espalier.data.prepare import prepare
from espalier.data.prepared import read_split
from espalier.decoders import images
from espalier.decoders.each import decode_images
from espalier.errors import BadInput, TryAgain
from espalier.limited import LimitedProcess, Limits, ProcessFailed, process
from espalier.limited.messages import MessagePipe
from espalier.settings.images import ImagePolicy

FAULTS = '''
import ctypes, os, signal
def fault(content):
    if b"SEGV" in content:
        ctypes.string_at(0)
    while b"HANG" in content:
        pass
    if b"GREEDY" in content:
        bytearray(2**30)
    if b"KILLED" in content:
        os.kill(os.getpid(), signal.SIGKILL)
def wrap(module, name, content_of):
    function = getattr(module, name)
    def wrapped(file, *given, **keys):
        fault(content_of(file))
        return function(file, *given, **keys)
    setattr(module, name, wrapped)
import PIL.Image, pyarrow.parquet, soundfile
wrap(PIL.Image, "open", lambda file: file.getvalue())
wrap(soundfile, "SoundFile", lambda file: file.getvalue())
wrap(pyarrow.parquet, "ParquetFile", lambda path: path.name.encode())
'''  # fmt: skip
FAULT = {"SEGV": "SIGSEGV", "HANG": "`data.decode_seconds`", "GREEDY": "192 MB of memory"}
SECONDS = 3.0


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Processes whose libraries have the faults; none of others is used, or left for others."""
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(FAULTS)
    path = os.pathsep.join([str(tmp_path / "faults"), *filter(None, sys.path)])
    process._close_idle()
    monkeypatch.setenv("PYTHONPATH", path)
    yield
    process._close_idle()


def png(value: int = 0, mark: bytes = b"") -> bytes:
    """An image with a mark after its end, where decoders do not see it."""
    content = io.BytesIO()
    Image.new("L", (8, 8), value).save(content, "PNG")
    return content.getvalue() + mark


def clip(value: int = 0, mark: bytes = b"") -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.full(2000, value, np.int16).tobytes())
    return content.getvalue() + mark


def write(folder: Path, content, ending: str, mark: str) -> Path:
    """Two classes of ten files, the fourth of the second one with a fault."""
    for number in range(20):
        path = folder / "ab"[number // 10] / f"{number}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(number, mark.encode() if number == 13 else b""))
    return folder


def prepared(folder: Path, **keys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work = folder.with_name("work")
        return prepare(
            folder, folder.with_name("prepared"), workshop=work, decode_seconds=SECONDS, **keys
        )


@pytest.mark.parametrize("mark", FAULT)
@pytest.mark.parametrize(("content", "ending"), [(png, ".png"), (clip, ".wav")], ids=["png", "wav"])
def test_a_fault_is_that_of_one_file(faulty, tmp_path, content, ending, mark):
    folder = write(tmp_path / "data", content, ending, mark)
    with pytest.raises(BadInput) as caught:
        prepared(folder)
    assert_explains(caught.value, f"13{ending}", FAULT[mark], "data.skip_bad: 1")
    dataset = prepared(folder, skip_bad=1)
    assert sum(dataset.counts.values()) == 19


def test_a_process_that_is_killed_from_elsewhere_is_tried_again(faulty, tmp_path):
    with pytest.raises(TryAgain, match="killed"):
        prepared(write(tmp_path / "data", png, ".png", "KILLED"))


@pytest.mark.parametrize("mark", FAULT)
def test_a_fault_of_a_parquet_file_names_it(faulty, tmp_path, mark):
    (tmp_path / "data").mkdir()
    rows = {"text": ["a b", "c d"] * 20, "label": [0, 1] * 20}
    pq.write_table(pa.table(rows), tmp_path / "data" / f"{mark}.parquet")
    with pytest.raises(BadInput) as caught:
        prepared(tmp_path / "data")
    assert_explains(caught.value, f"{mark}.parquet", FAULT[mark])


def test_files_that_hang_take_the_time_of_one_more_than_may_be_left_out(faulty, tmp_path):
    """The twenty files would take a minute."""
    folder = write(tmp_path / "data", lambda value, _: png(value, b"HANG"), ".png", "")
    began = time.monotonic()
    with pytest.raises(BadInput, match=r"found 1 that is not, the first in .*/a/0\.png"):
        prepared(folder)
    assert time.monotonic() - began < 10 * SECONDS


def test_images_are_those_of_this_process_in_their_order():
    """Over several processes, with images that cannot be read between others."""
    policy = ImagePolicy(size=5, channels="rgb")
    contents = [png(value % 256) if value % 50 else b"no image" for value in range(700)]
    outcomes = list(decode_images(contents, policy, 60.0))
    assert len(outcomes) == len(contents)
    for outcome, content in zip(outcomes, contents, strict=True):
        if content == b"no image":
            with pytest.raises(ValueError, match=outcome.unreadable):
                images.decode(content, policy)
        else:
            assert np.array_equal(outcome.example, images.decode(content, policy))


def test_an_image_of_many_pixels_may_take_the_memory_that_it_needs():
    """25 million pixels take some hundred megabytes, more than a small image may take."""
    content = io.BytesIO()
    Image.new("RGB", (5000, 5000), (1, 2, 3)).save(content, "PNG", compress_level=1)
    (outcome,) = decode_images([content.getvalue()], ImagePolicy(), 60.0)
    assert outcome.unreadable == ""
    assert outcome.example.shape == (3, 5000, 5000)
    assert outcome.example.nbytes == 75_000_000


def test_the_bounds_of_other_threads_are_not_touched(monkeypatch, tmp_path):
    resource = pytest.importorskip("resource")
    folder = write(tmp_path / "data", png, ".png", "")

    def refuse(*given):
        pytest.fail(f"limits this process: {given}")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert sum(prepared(folder).counts.values()) == 20
    assert len(read_split(tmp_path / "prepared", "test").inputs)


STARTS = """
import time
from espalier.limited import LimitedProcess, Limits
one = LimitedProcess("espalier.decoders.answers:decode_images")
one.send(Limits(2**28, 60.0), sizes=[], policy={})
print(one.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
def test_a_process_ends_with_the_one_that_started_it():
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.kill()
    for _ in range(300):
        if not Path(f"/proc/{child}/cmdline").exists():
            return
        if not Path(f"/proc/{child}/cmdline").read_bytes():
            return  # it has ended, and waits for init to notice
        time.sleep(0.1)
    pytest.fail("the process still runs")


def test_a_request_after_a_failure_of_another_process_has_a_new_one():
    with LimitedProcess("espalier.decoders.answers:decode_images") as one:
        one.send(Limits(2**28, 60.0), np.zeros(3, np.uint8), sizes=[3], policy={})
        assert "unreadable" in one.receive()[0]
        os.kill(one.pid, signal.SIGSEGV)
        with pytest.raises(ProcessFailed) as caught:
            one.receive()
    assert caught.value.cause == "crashed"
    assert "SIGSEGV" in caught.value.ending


@pytest.mark.parametrize("forged", [b'{"shape": [1], "type": "|O"}', b"[]", b"{", b'{"type": "x"}'])
def test_a_forged_message_is_an_error_and_no_object(forged):
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb"), os.fdopen(writes, "wb", 0) as file:
        file.write(
            len(forged).to_bytes(4, "little") + (8).to_bytes(8, "little") + forged + bytes(8)
        )
        with pytest.raises((ValueError, TypeError, KeyError)):
            MessagePipe(reads, writes).receive(time.monotonic() + 5)

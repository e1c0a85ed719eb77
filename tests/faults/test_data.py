"""Data from elsewhere: bombs are refused before they are decoded, and control characters are shown as text."""

import gzip
import io
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from espalier.commands.models import _Row, _versions_table
from espalier.data.prepare import prepare
from espalier.data.sources import _expanded
from espalier.decoders.images import decode
from espalier.errors import BadInput
from espalier.pruning.costs.latency_table import default_cache
from espalier.report.terminal import printable
from espalier.settings.images import ImagePolicy

MEMORY = 300 * 2**20


def png_bomb(side: int) -> bytes:
    """A black RGB image, which compresses to a thousandth."""
    chunks = io.BytesIO()

    def chunk(kind: bytes, content: bytes) -> None:
        chunks.write(len(content).to_bytes(4, "big") + kind + content)
        chunks.write(zlib.crc32(kind + content).to_bytes(4, "big"))

    chunks.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", side.to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0)))
    deflate, row = zlib.compressobj(1), bytes(1 + 3 * side)
    content = b"".join(deflate.compress(row) for _ in range(min(side, 500))) + deflate.flush()
    chunk(b"IDAT", content)
    chunk(b"IEND", b"")
    return chunks.getvalue()


def write_png(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            side = 12_000 if (name, number) == ("dog", 3) else 8
            (folder / name / f"{number}.png").write_bytes(png_bomb(side))


def write_gzip(folder: Path) -> None:
    folder.mkdir()
    header = bytes((0, 0, 8, 3)) + b"".join(n.to_bytes(4, "big") for n in (10**6, 28, 28))
    for prefix in ("train", "t10k"):
        with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz", "wb", 1) as file:
            file.write(header)
            for _ in range(600):
                file.write(bytes(10**6))
        with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(bytes((0, 0, 8, 1)) + (10**6).to_bytes(4, "big") + bytes(10**6))


def write_parquet(folder: Path) -> None:
    folder.mkdir()
    rows = 40_000_000
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["x"]))
    pq.write_table(pa.table({"text": column, "label": column}), folder / "train.parquet")
    assert (folder / "train.parquet").stat().st_size < 1_000_000


SCRIPT = """
import resource, sys, time
from pathlib import Path
import pandas, pyarrow.parquet, PIL.Image, torch
from espalier.data.prepare import prepare
from espalier.errors import BadInput
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, began = peak(), time.process_time()
try:
    prepare(Path(sys.argv[1]), Path(sys.argv[2]), workshop=Path(sys.argv[2]).parent / "work")
except BadInput as error:
    print(peak() - before, time.process_time() - began, str(error).replace(chr(10), "<line>"))
"""


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (write_png, ("data.images.pixels", "3.png")),
        (write_gzip, ("decode", "train-images-idx3-ubyte.gz")),
        (write_parquet, ("decode", "train.parquet")),
    ],
    ids=["png", "gzip", "parquet"],
)
def test_a_bomb_is_refused_with_little_memory_and_time(tmp_path, write, words):
    write(tmp_path / "data")
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    command += [str(tmp_path / "data"), str(tmp_path / "prepared")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    memory, seconds, text = done.stdout.split(" ", 2)
    assert all(word in text for word in words), text
    assert "<line>" not in text[:-5]
    assert int(memory) < MEMORY
    assert float(seconds) < 2


def test_the_limit_of_pixels_is_a_setting():
    image = io.BytesIO()
    Image.new("L", (20, 10)).save(image, "PNG")
    assert decode(image.getvalue(), ImagePolicy(pixels=200)).shape == (1, 10, 20)
    with pytest.raises(ValueError, match=r"data\.images\.pixels: 199"):
        decode(image.getvalue(), ImagePolicy(pixels=199))


def test_names_of_classes_with_control_characters_are_refused(tmp_path):
    rows = {"text": ["a b", "c d"] * 20, "label": ["good", "bad\x1b[2J"] * 20}
    (tmp_path / "data").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "data" / "table.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BadInput, match=r"printable"):
            prepare(tmp_path / "data", tmp_path / "prepared", workshop=tmp_path / "work")


def test_markup_and_escape_sequences_of_a_store_are_shown_as_text():
    tags = {"espalier.entry": "[/x] [red]a\x1b[31m", "espalier.content": "[/b]"}
    console = Console(file=io.StringIO(), width=200)
    console.print(_versions_table("digits[/y]", [_Row("1", tags, ("[bold]",), {})]))
    shown = console.file.getvalue()
    for text in ("[/x] [red]a\\x1b[31m", "[/b]", "[bold]", "digits[/y]"):
        assert text in shown
    assert "\x1b" not in printable("\x1b[0m").plain


def test_a_user_without_home_and_entry_in_passwd_has_a_cache(monkeypatch):
    def absent(*given):
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", absent)
    assert default_cache().is_absolute()
    assert _expanded("~/data") == Path("~/data")

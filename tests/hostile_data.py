"""Folders of data that decode to gigabytes, or refer to what is not there: each is written by a function."""

import io
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

GIB = 2**30


def png() -> bytes:
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "PNG")
    return content.getvalue()


def classes(folder: Path, content: bytes, name: str, hostile: Callable[[Path], object]) -> None:
    """Two classes of eight files; one file is hostile."""
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for number in range(8):
            (folder / kind / f"{number}{name}").write_bytes(content)
    (folder / "dog" / f"3{name}").unlink()
    hostile(folder / "dog" / f"3{name}")


def sparse_file(folder: Path) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(40 * GIB)

    classes(folder, png(), ".png", write)


def repeated_text(folder: Path) -> None:
    """A dictionary of one text of a megabyte, which 3,000 rows name."""
    folder.mkdir()
    texts = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(3000, np.int32)), pa.array(["x" * 2**20])
    )
    labels = pa.array(["a", "b"] * 1500)
    plain = pa.schema([("text", pa.string()), ("label", pa.string())])
    path = folder / "train.parquet"
    pq.write_table(pa.table({"text": texts, "label": labels}), path, store_schema=False)
    assert pq.read_schema(path) == plain
    assert path.stat().st_size < 200_000


def repeated_image(folder: Path) -> None:
    """The same with bytes that are no image."""
    folder.mkdir()
    images = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(2000, np.int32)), pa.array([bytes(2**20)])
    )
    labels = pa.array([0, 1] * 1000)
    path = folder / "train.parquet"
    pq.write_table(pa.table({"image": images, "label": labels}), path, store_schema=False)


def repeated_image_in_a_large_file(folder: Path) -> None:
    """The same after twelve megabytes that are no image either, which allow no more memory."""
    folder.mkdir()
    noise = np.random.default_rng(0).bytes(12 * 2**20)
    images = pa.DictionaryArray.from_arrays(
        pa.array(np.r_[0, np.ones(2000)].astype(np.int32)), pa.array([noise, bytes(2**20)])
    )
    labels = pa.array([*[0, 1] * 1000, 0])
    path = folder / "train.parquet"
    pq.write_table(pa.table({"image": images, "label": labels}), path, store_schema=False)
    assert path.stat().st_size > 12 * 2**20


def wav(frames: int, channels: int = 1) -> bytes:
    form = struct.pack("<HHIIHH", 1, channels, 8000, 16000 * channels, 2 * channels, 16)
    data = bytes(16000)
    return (
        b"RIFF" + struct.pack("<I", 2**31) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", 2 * frames * channels) + data
    )  # fmt: skip


def flac_that_lies(folder: Path) -> None:
    """A header of FLAC that says 2^35 samples of eight channels."""
    fields = (8000 << 44) | (7 << 41) | (15 << 36) | (2**35)
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + fields.to_bytes(8, "big") + bytes(16)
    content = b"fLaC" + bytes([0x80, 0, 0, 34]) + info + bytes(100)
    classes(folder, wav(8000), ".wav", lambda path: path.write_bytes(content))


def tar(folder: Path, write: Callable[[tarfile.TarFile], None], mode: str = "w:") -> None:
    folder.mkdir()
    with tarfile.open(folder / "train.tar", mode) as file:
        for number in range(8):
            add(file, f"{number}.png", png())
            add(file, f"{number}.cls", str(number % 2).encode())
        write(file)


def add(file: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.addfile(member, io.BytesIO(content))


def sparse_member(folder: Path) -> None:
    """A member of 40 GiB in the format of GNU for files with holes, with 512 bytes stored."""

    def write(file: tarfile.TarFile) -> None:
        member = tarfile.TarInfo("9.png")
        member.pax_headers = {
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
            "GNU.sparse.size": str(40 * GIB),
            "GNU.sparse.name": "9.png",
            "GNU.sparse.map": "0,512",
        }
        member.size = 512
        file.addfile(member, io.BytesIO(bytes(512)))
        add(file, "9.cls", b"0")

    tar(folder, write)


def packed_tar(folder: Path) -> None:
    tar(folder, lambda file: add(file, "9.png", bytes(400 * 2**20)), "w:gz")


def long_label(folder: Path) -> None:
    def write(file: tarfile.TarFile) -> None:
        add(file, "9.png", png())
        add(file, "9.cls", b"x" * 2**20)

    tar(folder, write)


def deep_json_lines(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": ' + "[" * 10**6 + "\n")


def wide_table(folder: Path) -> None:
    """A CSV file with as many columns as bytes."""
    folder.mkdir()
    (folder / "train.csv").write_text("," * 10**6 + "\n" + "1," * 10**6 + "\n")


def deep_description(folder: Path) -> None:
    classes(folder, png(), ".png", lambda path: path.write_bytes(png()))
    (folder / "classes.json").write_text("[" * 10**6)


def many_names(folder: Path) -> None:
    classes(folder, png(), ".png", lambda path: path.write_bytes(png()))
    (folder / "classes.json").write_text(json.dumps([[]] * 5 * 10**6))


FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "sparse file": (sparse_file, "3.png"),
    "repeated text": (repeated_text, "train.parquet"),
    "repeated image": (repeated_image, "train.parquet"),
    "repeated image in a large file": (repeated_image_in_a_large_file, "train.parquet"),
    "flac that lies": (flac_that_lies, "3.wav"),
    "sparse member": (sparse_member, "train.tar"),
    "packed tar": (packed_tar, "train.tar"),
    "long label": (long_label, "train.tar"),
    "deep json lines": (deep_json_lines, "train.jsonl"),
    "wide table": (wide_table, "train.csv"),
    "deep description": (deep_description, "classes.json"),
    "many names": (many_names, "classes.json"),
}

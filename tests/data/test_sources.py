import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torchvision.datasets
from PIL import Image
from properties import assert_explains

from espalier.data import layout
from espalier.data.known import KNOWN
from espalier.data.source import content_hash
from espalier.data.sources import DIGITS_MD5, import_data
from espalier.errors import BadInput, Notice, TryAgain
from espalier.inputs.image import decode
from espalier.settings.data import DataSettings

RULES = DataSettings()


@pytest.fixture
def project(project_root, tmp_path) -> Path:
    """A project with the embedded remote and data of its own."""
    shutil.copytree(project_root / ".dvc" / "embedded", tmp_path / "project" / ".dvc" / "embedded")
    (tmp_path / "project" / "data").mkdir()
    (tmp_path / "project" / "data" / "mine.txt").write_text("old")
    return tmp_path / "project"


def brought(project: Path, source: str, root: Path | None = None, **more):
    return import_data(source, project / "data", root, project / "work", RULES, **more)


def survived(project: Path) -> bool:
    mine = project / "data" / "mine.txt"
    return mine.is_file() and mine.read_text() == "old" and not list((project / "work").glob("*"))


def idx(folder: Path, train: np.ndarray, test: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for prefix, images in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels[: len(images)])):
            header = bytes((0, 0, 8, array.ndim)) + b"".join(
                size.to_bytes(4, "big") for size in array.shape
            )
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(
                gzip.compress(header + array.tobytes())
            )


@pytest.fixture
def small_mnist(tmp_path) -> Path:
    """idx files in torchvision's layout; the pixels are random, so that no two images are equal."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (400, 28, 28), np.uint8)
    idx(
        tmp_path / "files" / "MNIST" / "raw",
        images[:300],
        images[300:],
        np.arange(400, dtype=np.uint8) % 10,
    )
    return tmp_path / "files"


def test_digits_come_from_the_embedded_remote(project, project_root):
    result = brought(project, "digits")
    assert (result.name, result.shape, sum(result.counts.values())) == ("digits", (1, 8, 8), 1797)
    assert sorted(path.name for path in (project / "data").iterdir()) == [
        "classes.json",
        "digits.parquet",
        "source.json",
    ]
    assert result.source_hash == content_hash(project / "data")
    assert (
        f"{DIGITS_MD5}.dir" in (project_root / "data.dvc").read_text()
        or not (project_root / "data").exists()
    )


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_embedded_remote_is_named(project, damage):
    path = max(
        (project / ".dvc" / "embedded").rglob("*"),
        key=lambda path: path.stat().st_size * path.is_file(),
    )
    path.chmod(0o600)
    content = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(content[:-1] + b"!")
    found = "found nothing" if damage == "missing" else "to have the MD5 that is its name; found"
    with pytest.raises(BadInput, match=found) as refusal:
        brought(project, "digits")
    assert str(path) in str(refusal.value)
    assert survived(project)


def test_a_known_set_is_written_as_parquet_without_loss(project, small_mnist):
    result = brought(project, "mnist", small_mnist)
    assert (result.name, result.counts["test"], result.classes) == (
        "mnist",
        100,
        KNOWN["mnist"].classes,
    )
    raw = gzip.decompress(
        (small_mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz").read_bytes()
    )[16:]
    images = np.frombuffer(raw, np.uint8).reshape(-1, 1, 28, 28)
    table = pq.read_table(project / "data" / "test.parquet").to_pandas()
    assert (np.stack([decode(image["bytes"]) for image in table["image"]]) == images).all()
    assert table["label"].tolist() == [row % 10 for row in range(100)]
    assert json.loads((project / "data" / "source.json").read_text()) == {"name": "mnist"}
    assert layout.read(project / "data").classes == KNOWN["mnist"].classes
    assert not list((project / "work").iterdir())


def test_a_known_set_that_is_another_is_refused(project, shared_data):
    with pytest.raises(BadInput, match=r"to hold mnist; found fashion-mnist"):
        brought(project, "mnist", shared_data / "fashion-mnist")
    assert survived(project)


def test_the_files_of_another_set_are_not_taken_for_the_one_asked_for(project, small_mnist):
    with pytest.raises(BadInput, match=r"files to hold .*found none of them"):
        brought(project, "fashion-mnist", small_mnist)
    assert survived(project)


def test_parquet_of_a_known_set_is_copied_as_it_is(project, shared_data, tmp_path):
    table = pq.read_table(shared_data / "cifar10" / "test.parquet")
    folder = tmp_path / "cifar"
    folder.mkdir()
    pq.write_table(table.slice(0, 600), folder / "train.parquet")
    pq.write_table(table.slice(600, 200), folder / "test.parquet")
    result = brought(project, "cifar10", folder)
    assert (result.name, result.shape, result.classes) == (
        "cifar10",
        (3, 32, 32),
        KNOWN["cifar10"].classes,
    )
    for name in ("train.parquet", "test.parquet"):
        assert (project / "data" / name).read_bytes() == (folder / name).read_bytes()


def test_a_folder_of_images_is_brought_with_its_name(project, table, tmp_path):
    for row in range(400):
        path = tmp_path / "My Digits" / f"class {table['label'][row]}" / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(table["image"][row]["bytes"])
    result = brought(project, str(tmp_path / "My Digits"))
    assert result.name == "my-digits"
    assert result.classes == tuple(f"class {digit}" for digit in range(10))
    assert (project / "data" / "class 3" / "3.png").read_bytes() == table["image"][3]["bytes"]
    assert layout.read(project / "data").name == "my-digits"


@pytest.mark.parametrize(
    ("file", "name"), [("scans.parquet", "scans"), ("train.parquet", "folder")]
)
def test_one_parquet_file_is_brought_alone(project, table, write, tmp_path, file, name):
    write(table, tmp_path / "folder" / file)
    (tmp_path / "folder" / "other.parquet").write_bytes(b"not asked for")
    result = brought(project, str(tmp_path / "folder" / file))
    assert result.name == name
    assert sorted(path.name for path in (project / "data").iterdir()) == sorted(
        [file, "source.json"]
    )


def test_the_old_data_are_kept_only_once_the_new_are_sound(project, table, write, tmp_path):
    seen: list[bool] = []
    bad = write(pd.concat([table, table[:1].assign(label=-3)]), tmp_path / "bad.parquet")
    with pytest.raises(BadInput, match=r"bad\.parquet, row 1797: -3"):
        brought(project, str(bad), before_replacing=lambda: seen.append(survived(project)))
    assert seen == []
    assert survived(project)

    def stop() -> None:
        raise TryAgain("busy")

    with pytest.raises(TryAgain):
        brought(project, "digits", before_replacing=stop)
    assert survived(project)
    brought(
        project,
        "digits",
        before_replacing=lambda: seen.append((project / "data" / "mine.txt").exists()),
    )
    assert seen == [True]
    assert not (project / "data" / "mine.txt").exists()


def test_a_failed_download_is_worth_a_retry(project, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(
        TryAgain,
        match=r"mnist to be downloadable, or lie in a folder given with --root; found: ",
    ):
        brought(project, "mnist")
    assert survived(project)


def test_an_archive_that_torchvision_does_not_know_is_not_unpacked(project, tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(
        BadInput,
        match=r"cifar-10-python\.tar\.gz to have the MD5 c58f30108f718f92721af3b95e74349a",
    ):
        brought(project, "cifar10", tmp_path)
    assert survived(project)


@pytest.mark.parametrize(
    ("source", "root", "sentence"),
    [
        (
            "mnits",
            None,
            r"digits, mnist, fashion-mnist, cifar10, cifar100, or a path; found 'mnits'",
        ),
        (
            "mnist",
            "nowhere",
            r"--root to be a folder with the files of mnist; found no folder nowhere",
        ),
        (".", ".", r"--root to go with a known data set"),
        (__file__, None, r"to be a folder or a file of"),
    ],
)
def test_a_source_that_is_none_lists_what_can_be(project, source, root, sentence):
    with pytest.raises(BadInput, match=sentence):
        brought(project, source, Path(root) if root else None)
    assert survived(project)


@pytest.mark.slow
def test_mnist_is_brought_whole(project, shared_data):
    assert brought(project, "mnist", shared_data / "mnist").counts == {
        "train": 51000,
        "validation": 9000,
        "test": 10000,
    }


def test_notices_name_the_files_of_the_user(project, table, tmp_path):
    folder = tmp_path / "photos"
    for row in range(200):
        path = folder / str(table["label"][row]) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(table["image"][row]["bytes"])
    (folder / "0" / "notes.txt").write_text("no image")
    (folder / "1" / "bad.png").write_bytes(b"no image")
    settings = DataSettings(skip_bad=1)
    with pytest.warns(Notice) as said:
        import_data(str(folder), project / "data", None, project / "work", settings)
    sentences = [str(one.message) for one in said]
    assert any("Skipped 1 files" in one and str(folder) in one for one in sentences)
    assert any(str(folder / "1" / "bad.png") in one for one in sentences)


def test_a_list_without_its_files_is_refused_with_their_folder(tmp_path):
    folder = tmp_path / "my photos"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / f"{number}.png")
    names = [f"{number}.png" for number in range(12)]
    table = pd.DataFrame({"file_name": names, "label": [0, 1] * 6})
    table.to_csv(folder / "labels.csv", index=False)
    with pytest.raises(BadInput) as error:
        import_data(
            str(folder / "labels.csv"), tmp_path / "data", None, tmp_path / "work", DataSettings()
        )
    assert_explains(error.value, "a folder", f"espalier data '{folder}'")

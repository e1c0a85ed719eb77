"""Every kind of bad data is refused by file, row and count, and costs nothing that was there."""

import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from espalier.data.prepare import prepare
from espalier.data.sources import import_data
from espalier.errors import BadInput
from espalier.settings.data import DataSettings

RULES = DataSettings(split="exact")


def png(pixels: np.ndarray) -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue()}


def save(table: pd.DataFrame, path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)


def set_images(table: pd.DataFrame, images: dict[int, object]) -> pd.DataFrame:
    return table.assign(image=[images.get(row, image) for row, image in enumerate(table["image"])])


def set_labels(table: pd.DataFrame, labels: dict[int, object]) -> pd.DataFrame:
    return table.assign(label=[labels.get(row, label) for row, label in enumerate(table["label"])])


def truncated(table: pd.DataFrame, folder: Path) -> None:
    images = {7: {"bytes": table["image"][7]["bytes"][:-30]}, 9: {"bytes": b"not an image"}}
    save(set_images(table, images), folder / "all.parquet")


def transparent(table: pd.DataFrame, folder: Path) -> None:
    save(set_images(table, {4: png(np.zeros((8, 8, 4), np.uint8))}), folder / "all.parquet")


def deep(table: pd.DataFrame, folder: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(buffer, "TIFF")
    save(set_images(table, {4: {"bytes": buffer.getvalue()}}), folder / "all.parquet")


def program(table: pd.DataFrame, folder: Path) -> None:
    save(
        set_images(table, {2: {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"}}),
        folder / "all.parquet",
    )


def other_shapes(table: pd.DataFrame, folder: Path) -> None:
    images = {11: png(np.zeros((9, 8), np.uint8)), 12: png(np.zeros((8, 8, 3), np.uint8))}
    save(set_images(table, images), folder / "all.parquet")


def first_shape(table: pd.DataFrame, folder: Path) -> None:
    save(set_images(table, {0: png(np.zeros((9, 8), np.uint8))}), folder / "all.parquet")


def no_image(table: pd.DataFrame, folder: Path) -> None:
    save(set_images(table, {13: {"bytes": None}}), folder / "all.parquet")


def gap(table: pd.DataFrame, folder: Path) -> None:
    save(table[table["label"] != 4], folder / "all.parquet")


def far_label(table: pd.DataFrame, folder: Path) -> None:
    save(set_labels(table, {21: 77}), folder / "all.parquet")


def unseen_class(table: pd.DataFrame, folder: Path) -> None:
    save(table, folder / "all.parquet")
    (folder / "classes.json").write_text(json.dumps([*"0123456789", "ten"]))


def class_only_in_test(table: pd.DataFrame, folder: Path) -> None:
    save(table[table["label"] != 4], folder / "train.parquet")
    save(table[table["label"] == 4], folder / "test.parquet")


def negative(table: pd.DataFrame, folder: Path) -> None:
    save(set_labels(table, {3: -1, 8: -2}), folder / "all.parquet")


def beyond_classes(table: pd.DataFrame, folder: Path) -> None:
    save(set_labels(table, {3: 10}), folder / "all.parquet")
    (folder / "classes.json").write_text(json.dumps([*"0123456789"]))


def fraction(table: pd.DataFrame, folder: Path) -> None:
    save(set_labels(table, {3: 0.5}), folder / "all.parquet")


def no_label(table: pd.DataFrame, folder: Path) -> None:
    labels = pa.array(
        [None if row in (5, 6) else label for row, label in enumerate(table["label"])], pa.int64()
    )
    plain = pa.Table.from_pandas(table[["image"]], preserve_index=False)
    pq.write_table(plain.append_column("label", labels), folder / "all.parquet")


def no_column(table: pd.DataFrame, folder: Path) -> None:
    save(table.rename(columns={"label": "digit"}), folder / "all.parquet")


def wrong_column(table: pd.DataFrame, folder: Path) -> None:
    save(table.assign(image="a.png"), folder / "all.parquet")


def no_rows(table: pd.DataFrame, folder: Path) -> None:
    save(table, folder / "train.parquet")
    pq.write_table(pq.read_table(folder / "train.parquet").slice(0, 0), folder / "test.parquet")


def only_test(table: pd.DataFrame, folder: Path) -> None:
    save(table, folder / "test.parquet")


def unknown_split(table: pd.DataFrame, folder: Path) -> None:
    save(table.assign(split=["train"] * 1700 + ["held out"] * 97), folder / "all.parquet")


def some_splits(table: pd.DataFrame, folder: Path) -> None:
    save(table[:900], folder / "train.parquet")
    save(table[900:], folder / "more.parquet")


def leak(table: pd.DataFrame, folder: Path) -> None:
    save(table[:1500], folder / "train.parquet")
    save(pd.concat([table[1500:], table[100:103]]), folder / "test.parquet")


def one_of_a_class(table: pd.DataFrame, folder: Path) -> None:
    save(table[(table["label"] != 9) | (table.index == 9)], folder / "all.parquet")


def one_class(table: pd.DataFrame, folder: Path) -> None:
    save(table[table["label"] == 0], folder / "all.parquet")


def no_parquet(table: pd.DataFrame, folder: Path) -> None:
    (folder / "all.parquet").write_bytes(b"PAR1 and nothing else")


def damaged_page(table: pd.DataFrame, folder: Path) -> None:
    pq.write_table(
        pa.Table.from_pandas(table, preserve_index=False),
        folder / "all.parquet",
        write_page_checksum=True,
    )
    content = bytearray((folder / "all.parquet").read_bytes())
    content[40:4000] = b"x" * 3960
    (folder / "all.parquet").write_bytes(content)


def nothing(table: pd.DataFrame, folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing here")


def bad_classes(table: pd.DataFrame, folder: Path) -> None:
    save(table, folder / "all.parquet")
    (folder / "classes.json").write_text('["a", "a"]')


def bad_source(table: pd.DataFrame, folder: Path) -> None:
    save(table, folder / "all.parquet")
    (folder / "source.json").write_text('["digits"]')


def image_folder(table: pd.DataFrame, folder: Path) -> None:
    for row in range(300):
        path = folder / str(table["label"][row]) / f"{row:04}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(table["image"][row]["bytes"])


def damaged_file(table: pd.DataFrame, folder: Path) -> None:
    image_folder(table, folder)
    (folder / "3" / "0003.png").write_bytes(b"")


def class_not_listed(table: pd.DataFrame, folder: Path) -> None:
    image_folder(table, folder)
    (folder / "classes.json").write_text(json.dumps([*"012345678"]))


def idx(path: Path, content: np.ndarray) -> None:
    header = bytes((0, 0, 8, content.ndim)) + b"".join(
        size.to_bytes(4, "big") for size in content.shape
    )
    path.write_bytes(gzip.compress(header + content.astype(np.uint8).tobytes()))


def idx_short(table: pd.DataFrame, folder: Path) -> None:
    for prefix, count in (("train", 40), ("t10k", 20)):
        idx(folder / f"{prefix}-images-idx3-ubyte.gz", np.zeros((count, 8, 8)))
        idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(19) % 10)


def idx_torn(table: pd.DataFrame, folder: Path) -> None:
    idx_short(table, folder)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-12])


CASES: list[tuple[Callable[[pd.DataFrame, Path], None], str]] = [
    (
        truncated,
        r"to be readable.* found 2 that are not, the first in \S*all\.parquet, row 7: ",
    ),
    (
        transparent,
        r"readable.* found 1 that is not, the first in \S*all\.parquet, row 4: transparent.*alpha: white",
    ),
    (deep, r"found 1 that is not, the first in \S*all\.parquet, row 4: .*mode F"),
    (
        program,
        r"found 1 that is not, the first in \S*all\.parquet, row 2: \d+ bytes that begin like no image",
    ),
    (
        other_shapes,
        r"one shape, here 1x8x8 .* like 1795 of them; found 2 that differ, .*parquet, row 11: 1x9x8",
    ),
    (
        first_shape,
        r"1x8x8 .* like 1796 of them; found 1 that differs, .*all\.parquet, row 0: 1x9x8",
    ),
    (
        no_image,
        r"to hold an image; found none in \S*all\.parquet, row 13 \(such rows among 0\.\.1796: 1\)",
    ),
    (
        gap,
        r"every label .*found none of 4; the largest, 9, is in \S*all\.parquet, row \d+ \(rows with it: 180\)",
    ),
    (
        far_label,
        r"found none of 10; the largest, 77, is in \S*all\.parquet, row 21 \(rows with it: 1\)",
    ),
    (unseen_class, r"found none of class 10 \(ten\) .*1 of 11 classes"),
    (class_only_in_test, r"in train; found none of class 4 \(4\)"),
    (negative, r"not be negative; found 2 that do not, the first in \S*all\.parquet, row 3: -1"),
    (
        beyond_classes,
        r"lie in 0\.\.9, .*found 1 that do not, the first in \S*all\.parquet, row 3: 10",
    ),
    (
        fraction,
        r"labels of \S*all\.parquet to be whole numbers, or words; found 0\.5 in row 3, and 1 such",
    ),
    (
        no_label,
        r"every row of \S*all\.parquet to have a label; found 2 of 1797 without, the first is row 5",
    ),
    (no_column, r"all\.parquet to have the columns .*found no `label` among image, digit"),
    (
        wrong_column,
        r"`image` of \S*all\.parquet to hold encoded images.* found (large_)?string",
    ),
    (no_rows, r"test\.parquet to hold examples; found 0 rows"),
    (only_test, r"train split of \S* to hold examples; found none"),
    (
        unknown_split,
        r"`split` of \S*all\.parquet to hold .*found 'held out' in row 1700, and 97 such rows",
    ),
    (some_splits, r"to have the name of a split, or none; found more\.parquet without"),
    (
        leak,
        r"found 3 in two, .*train\.parquet, row 100 \(train\).*test\.parquet, row 297 \(test\).*duplicates: drop",
    ),
    (
        one_of_a_class,
        r"class 9 \(9\) to have at least 3 different images .*train and validation and test; found 1",
    ),
    (one_class, r"at least two classes; found one: 0"),
    (no_parquet, r"all\.parquet to be a sound parquet file; found: "),
    (damaged_page, r"all\.parquet to be a sound parquet file; found: "),
    (nothing, r"to hold \*\.parquet, images, .*found none of them"),
    (bad_classes, r"classes\.json to hold a list of different names; found"),
    (bad_source, r"source\.json to hold .*name.*found"),
    (damaged_file, r"found 1 that is not, the first in \S*3/0003\.png: "),
    (class_not_listed, r"to be those of classes\.json; found \S*9, which is not"),
    (
        idx_short,
        r"train-labels-idx1-ubyte\.gz to hold a label for each of 40 images; found 19",
    ),
    (idx_torn, r"train-images-idx3-ubyte\.gz to be a sound gzip file; found: "),
]


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def former(digits, tmp_path_factory) -> Path:
    """A project with sound data, prepared."""
    project = tmp_path_factory.mktemp("former")
    shutil.copytree(digits, project / "data")
    settings = {
        "validation": 0.15,
        "test": 0.2,
        "duplicates": "refuse",
        "split": "exact",
        "crop": -1,
        "flip": None,
        "seed": 0,
    }
    prepare(project / "data", project / "prepared", **settings, workshop=project / "work")
    return project


@pytest.mark.parametrize(
    ("damage", "sentence"), CASES, ids=[damage.__name__ for damage, _ in CASES]
)
def test_bad_data_are_refused_and_nothing_is_lost(
    former, table, prepared, tmp_path, damage, sentence
):
    before = contents(former)
    bad = tmp_path / "bad"
    bad.mkdir()
    damage(table, bad)
    with pytest.raises(BadInput, match=sentence) as refusal:
        prepared(bad, former / "prepared")
    assert "\n" not in str(refusal.value)
    assert " to " in str(refusal.value)
    with pytest.raises(BadInput) as brought:
        import_data(str(bad), former / "data", None, former / "work", RULES)
    assert str(brought.value) == str(refusal.value)  # the user's own file is named, not the copy
    assert contents(former) == before
    assert list((tmp_path / "work").glob("*")) == []


def test_dropping_leaks_until_a_class_is_gone_is_refused(table, write, prepared, tmp_path):
    nines = table[table["label"] == 9]
    write(table[:900], tmp_path / "data" / "train.parquet")
    write(pd.concat([table[900:], nines]), tmp_path / "data" / "test.parquet")
    with pytest.raises(BadInput, match=r"in train; found none of class 9"):
        prepared(tmp_path / "data", duplicates="drop")
    assert not (tmp_path / "prepared").exists()


def test_a_folder_that_is_not_there_is_refused(prepared, tmp_path):
    with pytest.raises(BadInput, match=r"nowhere to be a folder with data; found nothing"):
        prepared(tmp_path / "nowhere")

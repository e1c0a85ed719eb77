"""The same scans in every layout are the same examples."""

import gzip
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torchvision.datasets
from PIL import Image

from espalier.data import arrays, layout
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.inputs.image import decode
from espalier.settings.data import Columns, DataSettings

TRAIN, TEST = slice(0, 1400), slice(1400, None)


def pixels(table: pd.DataFrame) -> np.ndarray:
    return np.stack([decode(image["bytes"]) for image in table["image"]])


def as_pairs(table, write, folder):
    write(table[TRAIN], folder / "train.parquet")
    write(table[TEST], folder / "test.parquet")


def as_shards(table, write, folder):
    write(table[:700], folder / "train-00000-of-00002.parquet")
    write(table[700:1400], folder / "train-00001-of-00002.parquet")
    write(table[TEST], folder / "test-00000-of-00001.parquet")


def as_plain_bytes(table, write, folder):
    as_pairs(table.assign(image=[image["bytes"] for image in table["image"]]), write, folder)


def as_column(table, write, folder):
    write(
        table.assign(split=["train"] * 1400 + ["test"] * 397, label=table["label"].astype("int8")),
        folder / "x.parquet",
    )


def as_images(table, write, folder):
    for row, (image, label) in enumerate(zip(table["image"], table["label"], strict=True)):
        path = folder / ("train" if row < 1400 else "test") / str(label) / f"{row:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image["bytes"])


def as_idx(table, write, folder, ending=".gz"):
    folder.mkdir(parents=True)
    for prefix, part in (("train", TRAIN), ("t10k", TEST)):
        for kind, array in (
            ("images-idx3", pixels(table)[part, 0]),
            ("labels-idx1", table["label"].to_numpy()[part]),
        ):
            header = bytes((0, 0, 8, array.ndim)) + b"".join(
                size.to_bytes(4, "big") for size in array.shape
            )
            content = header + array.astype(np.uint8).tobytes()
            name = folder / f"{prefix}-{kind}-ubyte{ending}"
            name.write_bytes(gzip.compress(content) if ending else content)


def as_raw_idx(table, write, folder):
    as_idx(table, write, folder / "MNIST" / "raw", "")


@pytest.mark.parametrize(
    "lay", [as_pairs, as_shards, as_plain_bytes, as_column, as_images, as_idx, as_raw_idx]
)
def test_every_layout_gives_the_same_examples(table, write, prepared, tmp_path, lay):
    folder = tmp_path / "data"
    lay(table, write, folder)
    dataset = prepared(folder)
    assert dataset.classes == tuple("0123456789")
    assert dataset.counts["test"] == 397
    rows = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet")
    found = set(zip(rows["sha256"], rows["label"], rows["split"] == "test", strict=True))
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels(table)]
    assert found == set(zip(hashes, table["label"], table.index >= 1400, strict=True))
    assert read_split(tmp_path / "prepared", "test").inputs.shape == (397, 1, 8, 8)


def test_class_folders_that_are_numbers_are_in_the_order_of_numbers(table, tmp_path):
    for row in range(400):
        path = tmp_path / "data" / str(7 + table["label"][row]) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(table["image"][row]["bytes"])
    source = layout.read(tmp_path / "data")
    assert source.classes == tuple(str(number) for number in range(7, 17))


def test_a_palette_and_opaque_alpha_lose_nothing(table, tmp_path):
    from io import BytesIO

    colours = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    for mode in ("RGB", "RGBA", "P"):
        buffer = BytesIO()
        image = Image.fromarray(colours)
        (image.quantize(64) if mode == "P" else image.convert(mode)).save(buffer, "PNG")
        assert (decode(buffer.getvalue()) == colours.transpose(2, 0, 1)).all(), mode


@pytest.fixture
def cifar(tmp_path, monkeypatch) -> Path:
    """A small CIFAR-10 in its own format: torchvision is told the MD5 of these files instead."""
    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    md5 = {}
    for name in ("data_batch_1", "data_batch_2", "test_batch", "batches.meta"):
        images = rng.integers(0, 256, (40, 3072), np.uint8)
        content = {"data": images, "labels": [row % 10 for row in range(40)]}
        content = (
            {"label_names": [f"c{label}" for label in range(10)]}
            if name == "batches.meta"
            else content
        )
        (folder / name).write_bytes(pickle.dumps(content))
        md5[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    reader = torchvision.datasets.CIFAR10
    monkeypatch.setattr(
        reader, "train_list", [[name, md5[name]] for name in ("data_batch_1", "data_batch_2")]
    )
    monkeypatch.setattr(reader, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(
        reader,
        "meta",
        {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]},
    )
    return folder


@pytest.mark.parametrize("above", [True, False])
def test_cifar_is_read_in_its_own_format(cifar, prepared, tmp_path, above):
    dataset = prepared(cifar.parent if above else cifar)
    assert (dataset.name, dataset.shape, dataset.facts.crop, dataset.facts.flip) == (
        "cifar10",
        (3, 32, 32),
        4,
        True,
    )
    assert dataset.classes == tuple(f"c{label}" for label in range(10))
    rows = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet")
    row = rows[(rows["file"] == "cifar-10-batches-py/data_batch_2") & (rows["row"] == 5)].iloc[0]
    stored = pickle.loads((cifar / "data_batch_2").read_bytes())["data"][5]
    assert row["sha256"] == hashlib.sha256(stored.tobytes()).hexdigest()
    assert row["label"] == 5


def test_a_changed_cifar_file_is_never_unpickled(cifar, prepared):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (cifar / "exploded",))

    (cifar / "data_batch_2").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput, match=r"cifar-10-batches-py to hold the files of cifar10; found"):
        prepared(cifar.parent)
    assert not (cifar / "exploded").exists()


def counts_by_name(folder, labels, classes, task=None):
    """The number of examples of each class, by its name in the data set, of labels in a CSV."""
    folder.mkdir(exist_ok=True)
    rows = {"size": range(len(labels)), "label": labels}
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    (folder / "classes.json").write_text(json.dumps(classes))
    source = layout.read(folder, settings=DataSettings(task=task))
    if source.task == "regression":
        return source.classes
    counted = source.examples["label"].explode().value_counts()
    return {source.classes[number]: count for number, count in counted.items()}


def test_listed_classes_name_words_by_the_words_and_numbers_by_their_place(tmp_path):
    listed = ["dog", "cat"]
    words = ["cat"] * 60 + ["dog"] * 30
    assert counts_by_name(tmp_path / "a", words, listed) == {"cat": 60, "dog": 30}
    numbers = [1] * 60 + [0] * 30
    assert counts_by_name(tmp_path / "b", numbers, listed) == {"cat": 60, "dog": 30}
    for sets in (["cat"] * 60 + ["dog;cat"] * 30, ["1"] * 60 + ["0;1"] * 30):
        assert counts_by_name(tmp_path / "c", sets, listed, "multilabel") == {"cat": 90, "dog": 30}


def test_listed_classes_give_no_name_to_a_regression(tmp_path):
    values = [row + 0.5 for row in range(40)]
    assert counts_by_name(tmp_path / "data", values, ["dog", "cat"]) == ("label",)


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a;b", "b;c", "a"], ["0;1", "1;2", "0"]])
def test_labels_that_the_listed_classes_lack_are_refused(tmp_path, labels):
    task = "multilabel" if ";" in labels[0] else None
    with pytest.raises(BadInput, match=r"Expected labels of .*rows\.csv to .*found .?[c2]"):
        counts_by_name(tmp_path / "data", labels * 20, ["a", "b"], task)


def features(folder, file="rows.csv", name="split", splits="train"):
    rows = {"size": range(40), "label": ["a", "b"] * 20, name: splits}
    pd.DataFrame(rows).to_csv(folder / file, index=False)


def listing(folder, file="list.csv", name="split", splits="train"):
    """A list of images, which lie in folders that could be classes."""
    rows = {"path": [f"{'ab'[number % 2]}/{file}{number}.png" for number in range(8)]}
    for number, path in enumerate(rows["path"]):
        (folder / path).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / path)
    rows = {**rows, "label": ["x", "y"] * 4, **({name: splits} if name else {})}
    pd.DataFrame(rows).to_csv(folder / file, index=False)


@pytest.mark.parametrize("write", [features, listing])
def test_a_column_of_splits_that_contradicts_the_name_of_its_file_is_refused(tmp_path, write):
    write(tmp_path, "train.csv")
    write(tmp_path, "test.csv")
    with pytest.raises(BadInput, match=r"test\.csv to be of the split test .* found train in its"):
        layout.read(tmp_path)


def test_a_listing_without_the_column_of_splits_that_another_has_is_refused(tmp_path):
    listing(tmp_path, "first.csv")
    listing(tmp_path, "second.csv", name=None)
    with pytest.raises(BadInput, match=r"column of splits, or none; found second\.csv without"):
        layout.read(tmp_path)


@pytest.mark.parametrize("write", [features, listing])
def test_a_column_of_splits_that_was_named_and_is_absent_is_refused(tmp_path, write):
    write(tmp_path, name="fold")
    with pytest.raises(BadInput, match=r"to have the column `Fold` .*found .*fold"):
        layout.read(tmp_path, settings=DataSettings(columns=Columns(split="Fold")))
    given = layout.read(tmp_path, settings=DataSettings(columns=Columns(split="fold")))
    assert set(given.examples["split"]) == {"train"}


def test_a_column_of_labels_that_was_named_and_is_absent_makes_no_classes_of_folders(tmp_path):
    listing(tmp_path)
    with pytest.raises(BadInput, match=r"list\.csv to have the column `Label` .*found path, label"):
        layout.read(tmp_path, settings=DataSettings(columns=Columns(label="Label")))


def test_a_column_of_texts_that_was_named_and_is_absent_is_refused(tmp_path):
    rows = {"phrase": [f"words {row}" for row in range(40)], "label": ["a", "b"] * 20}
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(BadInput, match=r"rows\.csv to have the column `Phrase` .*found phrase"):
        layout.read(tmp_path, settings=DataSettings(columns=Columns(text="Phrase")))


@pytest.mark.parametrize("end", ["", ","])
def test_a_comma_at_the_end_of_each_row_moves_no_cell(tmp_path, end):
    rows = "".join(f"{'xy'[row % 2]},{row},0.1{end}\n" for row in range(40))
    (tmp_path / "rows.csv").write_text(f"label,a,b\n{rows}")
    source = layout.read(tmp_path)
    assert (source.classes, source.columns) == (("x", "y"), ("a", "b"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_rows_with_more_cells_than_the_first_are_refused(tmp_path, name):
    rows = "".join(f"{'xy'[row % 2]},{row},0.1,5\n" for row in range(40))
    text = f"label,a,b\n{rows}"
    (tmp_path / name).write_text(text if name == "rows.csv" else text.replace(",", "\t"))
    with pytest.raises(BadInput, match=r"as many cells in each row of .*rows.* found more"):
        layout.read(tmp_path)


def test_stray_quotation_marks_of_a_tsv_lose_no_rows_in_silence(tmp_path):
    marks = {3: '"', 7: '"'}
    rows = "".join(f"{marks.get(row, '')}text {row}\t{'xy'[row % 2]}\n" for row in range(40))
    (tmp_path / "rows.tsv").write_text(f"text\tlabel\n{rows}")
    with pytest.raises(BadInput, match=r"rows\.tsv to be one line; found .* in row 3 "):
        layout.read(tmp_path)


def test_rows_of_zeros_and_ones_are_no_sets_of_labels(tmp_path):
    rows = {"size": range(40), "label": [[0, 1, 0, 1], [1, 0, 0, 1]] * 20}
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(BadInput, match=r"rows\.parquet to list .*once.*found \[.* in row 0"):
        layout.read(tmp_path)


def test_arrays_may_have_sets_of_labels_of_several_lengths(tmp_path, monkeypatch):
    sets = [[0], [1, 2], [], [0, 2]] * 10
    monkeypatch.setattr(arrays, "own_function", lambda place: lambda folder: (np.eye(40), sets))
    source = layout.read(tmp_path, settings=DataSettings(arrays="own:sets"))
    assert source.task == "multilabel"
    assert source.examples["label"].tolist() == [tuple(one) for one in sets]

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from espalier.data.names import SPLITS
from espalier.data.prepare import prepare
from espalier.data.prepared import data_hash, read_dataset, read_split


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def manifest(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "manifest.parquet")


def test_digits_are_split_by_class_and_described(digits, prepared, tmp_path):
    dataset = prepared(digits)
    assert dataset == read_dataset(tmp_path / "prepared")
    assert (dataset.name, dataset.shape, dataset.facts.crop, dataset.facts.flip) == (
        "digits",
        (1, 8, 8),
        1,
        False,
    )
    assert dataset.classes == tuple("0123456789")
    assert sum(dataset.counts.values()) == 1797
    rows = manifest(tmp_path / "prepared")
    per_class = rows.groupby("label")["split"].value_counts().unstack()
    share = per_class["test"] / per_class.sum(axis=1)
    assert share.between(0.19, 0.21).all()
    rest = per_class["validation"] / (per_class["train"] + per_class["validation"])
    assert rest.between(0.14, 0.16).all()


def test_the_manifest_records_the_source_of_each_image(digits, table, prepared, tmp_path):
    from espalier.inputs.image import decode

    prepared(digits)
    rows = manifest(tmp_path / "prepared")
    for name in SPLITS:
        split = read_split(tmp_path / "prepared", name)
        part = rows[rows["split"] == name].reset_index(drop=True)
        assert split.inputs.dtype == torch.uint8
        assert split.targets.tolist() == part["label"].tolist()
        for index in range(0, len(part), 37):
            image = split.inputs[index].numpy()
            assert hashlib.sha256(image.tobytes()).hexdigest() == part["sha256"][index]
            assert (decode(table["image"][part["row"][index]]["bytes"]) == image).all()
            assert table["label"][part["row"][index]] == part["label"][index]
    assert sorted(rows["row"]) == list(range(1797))
    assert set(rows["file"]) == {"digits.parquet"}


def test_mean_and_deviation_are_those_of_the_train_pixels(digits, prepared, tmp_path):
    dataset = prepared(digits)
    pixels = read_split(tmp_path / "prepared", "train").inputs.double() / 255
    assert dataset.facts.mean == pytest.approx([pixels.mean().item()], abs=1e-12)
    assert dataset.facts.std == pytest.approx([pixels.std(correction=0).item()], abs=1e-12)


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_split(
    digits, prepared, tmp_path
):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepared(digits, tmp_path / name, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert data_hash(tmp_path / "a") == data_hash(tmp_path / "b") != data_hash(tmp_path / "c")
    assert (
        contents(tmp_path / "a")["test.safetensors"] != contents(tmp_path / "c")["test.safetensors"]
    )


def test_identical_images_stay_together_when_we_split(table, write, prepared, tmp_path):
    twice = pd.concat([table, table.iloc[::3]])
    write(twice, tmp_path / "data" / "all.parquet")
    prepared(tmp_path / "data")
    rows = manifest(tmp_path / "prepared")
    assert len(rows) == len(twice)
    assert rows.groupby("sha256")["split"].nunique().max() == 1


def test_data_that_grow_keep_most_examples_where_they_were(table, write, prepared, tmp_path):
    write(table.iloc[:1600], tmp_path / "less" / "all.parquet")
    write(table.sample(frac=1, random_state=0), tmp_path / "more" / "all.parquet")
    for name in ("less", "more"):
        prepared(tmp_path / name, tmp_path / "out" / name)
    less, more = (
        manifest(tmp_path / "out" / name).set_index("sha256")["split"] for name in ("less", "more")
    )
    assert (less == more[less.index]).mean() > 0.95


def test_no_fraction_empties_a_class(table, write, prepared, tmp_path):
    write(table.groupby("label").head(3), tmp_path / "data" / "all.parquet")
    dataset = prepared(tmp_path / "data", test=0.99, validation=0.99)
    assert dataset.counts == {"train": 10, "validation": 10, "test": 10}
    rows = manifest(tmp_path / "prepared")
    assert (rows.groupby("split")["label"].nunique() == 10).all()


def test_a_given_split_is_taken_as_it_is(table, write, prepared, tmp_path):
    names = ["train"] * 1200 + ["valid"] * 200 + ["test"] * 397
    write(table.assign(split=names), tmp_path / "data" / "all.parquet")
    dataset = prepared(tmp_path / "data")
    assert dataset.counts == {"train": 1200, "validation": 200, "test": 397}
    rows = manifest(tmp_path / "prepared")
    assert rows.loc[rows["split"] == "test", "row"].tolist() == list(range(1400, 1797))


def test_duplicates_of_test_are_dropped_from_train_on_demand(table, write, prepared, tmp_path):
    write(table.iloc[:1400], tmp_path / "data" / "train.parquet")
    write(pd.concat([table.iloc[1400:], table.iloc[5:8]]), tmp_path / "data" / "test.parquet")
    dataset = prepared(tmp_path / "data", duplicates="drop")
    assert dataset.dropped == 3
    assert dataset.counts["test"] == 400
    rows = manifest(tmp_path / "prepared")
    assert not set(rows.loc[rows["split"] == "test", "sha256"]) & set(
        rows.loc[rows["split"] != "test", "sha256"]
    )
    assert not ((rows["file"] == "train.parquet") & rows["row"].isin([5, 6, 7])).any()


@pytest.mark.parametrize(
    ("name", "crop", "flip"), [("cifar10", 4, True), ("fashion-mnist", 2, True), ("mine", 1, False)]
)
def test_augmentation_follows_the_name_and_the_parameters_win(
    digits: Path, write: Callable[..., Path], table, prepared, tmp_path, name, crop, flip
):
    write(table, tmp_path / "data" / "all.parquet")
    (tmp_path / "data" / "source.json").write_text(f'{{"name": "{name}"}}')
    dataset = prepared(tmp_path / "data")
    assert (dataset.facts.crop, dataset.facts.flip) == (crop, flip)
    dataset = prepared(tmp_path / "data", crop=0, flip=not flip)
    assert (dataset.facts.crop, dataset.facts.flip) == (0, not flip)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)],
    ids=["mnist", "fashion"],
)
def test_the_standard_files_give_the_published_statistics(
    shared_data, tmp_path, prepared, name, mean, std
):
    dataset = prepared(shared_data / name)
    assert dataset.name == name
    assert dataset.counts == {"train": 51000, "validation": 9000, "test": 10000}
    assert dataset.facts.mean == pytest.approx([mean], abs=5e-4)
    assert dataset.facts.std == pytest.approx([std], abs=5e-4)
    rows = manifest(tmp_path / "prepared")
    hashes = rows.loc[rows["split"] == "train", "sha256"].reset_index(drop=True)
    images = read_split(tmp_path / "prepared", "train").inputs.numpy()
    for index in (0, 4095, 4096, 30000, 50999):  # on both sides of where chunks meet
        assert hashlib.sha256(images[index].tobytes()).hexdigest() == hashes[index]
    assert np.bincount(read_split(tmp_path / "prepared", "test").targets)[3] == (
        1010 if name == "mnist" else 1000
    )


@pytest.mark.slow
def test_cifar_fits_time_and_gives_the_published_statistics(shared_data, prepared):
    dataset = prepared(shared_data / "cifar10")
    assert dataset.counts == {"train": 42500, "validation": 7500, "test": 10000}
    assert dataset.facts.mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-3)


def test_a_full_disk_is_one_sentence_and_costs_nothing(digits, prepared, tmp_path, monkeypatch):
    import errno

    from espalier.data import writing
    from espalier.errors import TryAgain

    prepared(digits)
    before = contents(tmp_path / "prepared")
    real = writing.write_split

    def full(path: Path, *arguments: object) -> None:
        if path.name == "test.safetensors":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, *arguments)

    monkeypatch.setattr(writing, "write_split", full)
    with pytest.raises(TryAgain, match=r"work to be .*found: No space left on device"):
        prepared(digits, seed=1)
    assert contents(tmp_path / "prepared") == before
    assert list((tmp_path / "work").iterdir()) == []
    monkeypatch.undo()
    assert prepared(digits, seed=1).seed == 1


def test_images_larger_than_one_chunk_keep_their_order(shared_data, tmp_path):
    """CIFAR's test file, read as a set of its own: several batches, colour, lossless WebP."""
    import pyarrow.parquet as pq

    from espalier.inputs.image import decode

    (tmp_path / "data").mkdir()
    pq.write_table(
        pq.read_table(shared_data / "cifar10" / "test.parquet").slice(0, 5000),
        tmp_path / "data" / "c.parquet",
    )
    settings = {
        "validation": 0.5,
        "test": 0.5,
        "duplicates": "refuse",
        "split": "exact",
        "crop": -1,
        "flip": None,
        "seed": 3,
    }
    dataset = prepare(
        tmp_path / "data", tmp_path / "prepared", **settings, workshop=tmp_path / "work"
    )
    assert (dataset.shape, dataset.facts.crop) == ((3, 32, 32), 4)
    source = pq.read_table(tmp_path / "data" / "c.parquet").to_pylist()
    rows = manifest(tmp_path / "prepared")
    rows = rows[rows["split"] == "test"].reset_index(drop=True)
    images = read_split(tmp_path / "prepared", "test").inputs.numpy()
    for index in range(0, len(rows), 211):
        assert (images[index] == decode(source[rows["row"][index]]["image"]["bytes"])).all()

"""Splits: names for test are never trained on, and examples stay where they are as data grow."""

import io
import tarfile
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from properties import assert_explains

from espalier.data import layout
from espalier.data.prepare import prepare
from espalier.errors import BadInput
from espalier.settings.data import DataSettings
from espalier.settings.images import ImagePolicy

TWO = ("train", "test")


def put(path, number, shape=(8, 8, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def in_folders(folder, form, splits=TWO, classes=("cat", "dog")):
    """Four images of each class and split; `form` makes their paths."""
    for number, (one, name, row) in enumerate(
        (one, name, row) for one in splits for name in classes for row in range(4)
    ):
        put(folder / form.format(split=one, name=name, row=row), number)
    return folder


def listed(folder, extra=None):
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    rows = {"path": map(str, paths), "label": [path.stem.split("-")[0] for path in paths]}
    pd.DataFrame({**rows, **(extra or {})}).to_csv(folder / "labels.csv", index=False)
    return folder


def splits_of(folder, **keys):
    """The splits of the examples by their files."""
    examples = layout.read(folder, settings=DataSettings(**keys)).examples
    return dict(zip(examples["file"], examples["split"], strict=True))


def as_named(splits):
    return {file: "test" if "test" in file else "train" for file in splits}


@pytest.mark.parametrize(
    ("form", "place"),
    [
        ("{name}/{split}_{row}.png", None),
        ("{split}_images/{name}/{row}.png", None),
        ("{split}_images/{name}/{row}.png", "last"),
        ("photos/{split}/{name}/{row}.png", "last"),
        ("{name}/{split}/{row}.png", "first"),
        ("photos/{split}-1/{name}/eval_{row}.png", "last"),
    ],
)
def test_a_split_in_any_name_above_or_in_a_file_counts(tmp_path, form, place):
    splits = splits_of(in_folders(tmp_path, form), class_folder=place)
    assert splits == as_named(splits)


@pytest.mark.parametrize("form", ["images/{split}/{name}-{row}.png", "{name}-{split}-{row}.png"])
def test_a_split_in_listed_paths_counts_unless_a_column_says_it(tmp_path, form):
    in_folders(tmp_path, form)
    splits = splits_of(listed(tmp_path))
    assert splits == as_named(splits)
    resplit = ["train", "validation"] * 8
    assert list(splits_of(listed(tmp_path, {"split": resplit})).values()) == resplit


def test_a_split_in_the_names_of_members_of_a_tar_counts(tmp_path):
    with tarfile.open(tmp_path / "all.tar", "w") as shard:
        for number in range(8):
            for ending in ("png", "cls"):
                member = tarfile.TarInfo(f"{TWO[number % 2]}/{number}.{ending}")
                member.size = 1
                shard.addfile(member, io.BytesIO(b"01"[number // 4 :]))
    assert layout.read(tmp_path).examples["split"].tolist() == list(TWO) * 4


@pytest.mark.parametrize(
    ("form", "classes", "place"),
    [
        ("{name}/{row}.png", ("train", "bus"), None),
        ("{name}/{row}.png", ("test", "control"), None),
        ("{name}/{name}_{row}.png", ("crash test", "control"), None),
        ("box/{name}/{row}.png", ("test", "control"), "last"),
        ("{name}/box/{row}.png", ("test", "control"), "first"),
        ("vehicles/{name}/{row}.png", ("train", "training day"), "last"),
        ("{name}/valley_testament_{row}.png", ("cat", "dog"), None),
        ("{name}/ILSVRC2012_val_{row}.JPEG", ("cat", "dog"), None),
    ],
)
def test_words_for_splits_that_mean_something_else_name_none(tmp_path, form, classes, place):
    in_folders(tmp_path, form, [""], classes)
    put(tmp_path / form.format(name=classes[1], row="training_day"), 99)
    splits = splits_of(tmp_path, class_folder=place)
    assert set(splits.values()) == {""}


def test_a_class_of_the_name_of_a_split_is_a_class_in_each_split_and_in_listings(tmp_path):
    in_folders(tmp_path / "data", "{split}/{name}/test_{row}.png", classes=("train", "bus"))
    splits = splits_of(tmp_path / "data")
    assert splits == {file: file.partition("/")[0] for file in splits}
    in_folders(tmp_path / "list", "{name}/{name}-{row}.png", [""], ("test", "control"))
    assert set(splits_of(listed(tmp_path / "list")).values()) == {""}


def beside_others(folder):
    in_folders(folder, "{split}/{name}/{row}.png")
    put(folder / "extra" / "cat" / "1.png", 99)


def named_in_part(folder):
    in_folders(folder, "photos/{name}/{row}.png", [""])
    put(folder / "photos" / "cat" / "test_1.png", 99)


def named_twice(folder):
    in_folders(folder, "train_test/{split}/{name}/{row}.png")


def in_another_split(folder):
    in_folders(folder, "{split}/photos/{name}/{row}.png")
    put(folder / "train" / "test" / "cat" / "1.png", 99)


def listed_in_part(folder):
    in_folders(folder, "{name}-{row}.png", [""])
    put(folder / "test" / "cat-9.png", 99)
    listed(folder)


def listed_for_train(folder):
    listed(in_folders(folder, "{split}/{name}-{row}.png"))
    (folder / "labels.csv").rename(folder / "train.csv")


@pytest.mark.parametrize(
    ("lay", "words"),
    [
        (beside_others, ["one split", "test/cat/0.png", "none in extra/cat/1.png", "rename"]),
        (named_in_part, ["test_1.png", "none in photos/cat/0.png", "folders train"]),
        (named_twice, ["one split", "test and train in train_test/test/cat/0.png", "rename"]),
        (in_another_split, ["for train", "train/test/cat/1.png, and 1 such", "rename"]),
        (listed_in_part, ["one split", "test/cat-9.png", "a column `split` in labels.csv"]),
        (listed_for_train, ["for train", "test/cat-0.png", "a column `split` in train.csv"]),
    ],
)
def test_names_for_test_beside_others_are_refused(tmp_path, lay, words):
    lay(tmp_path)
    with pytest.raises(BadInput) as refusal:
        splits_of(tmp_path, class_folder="last")
    assert_explains(refusal.value, *words)


def placed(tmp_path, **keys):
    """The manifest of the data, and the notices of examples that moved."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        prepare(tmp_path / "data", tmp_path / "prepared", workshop=tmp_path / "work", **keys)
    rows = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet").set_index(["file", "row"])
    return rows, [str(one.message) for one in said if "another split" in str(one.message)]


def write_rows(folder, rows):
    folder.mkdir(exist_ok=True)
    frame = pd.DataFrame([(age, size, "yn"[age % 2]) for age, size in rows])
    frame.to_csv(folder / "rows.csv", index=False, header=["age", "size", "label"])


def a_gray_image(folder):
    put(folder / "cat" / "gray.png", 98, (8, 8))


def a_coloured_image(folder):
    put(folder / "cat" / "coloured.png", 99)


def gray_images(folder):
    for number in range(60):
        put(folder / ("cat", "dog")[number % 2] / f"{number}.png", number, (8, 8))


def coloured_images(folder):
    for number in range(60):
        put(folder / ("cat", "dog")[number % 2] / f"{number}.png", number)


def whole_numbers(folder):
    write_rows(folder, [(number, number % 7) for number in range(200)])


def a_missing_cell(folder):
    write_rows(folder, [*((number, number % 7) for number in range(200)), (200, None)])


@pytest.mark.parametrize(
    ("before", "more"),
    [
        (gray_images, a_coloured_image),
        (coloured_images, a_gray_image),
        (whole_numbers, a_missing_cell),
    ],
)
def test_no_example_moves_when_one_of_another_form_is_added(tmp_path, before, more):
    before(tmp_path / "data")
    former, _ = placed(tmp_path)
    more(tmp_path / "data")
    now, said = placed(tmp_path)
    kept = now.loc[former.index]
    assert (len(now), said) == (len(former) + 1, [])
    assert (kept["split"] == former["split"]).all()
    assert (kept["sha256"] == former["sha256"]).all()


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_coloured_copy_of_a_gray_image_is_the_same_image(tmp_path):
    gray_images(tmp_path / "data")
    for path in list((tmp_path / "data" / "cat").iterdir()):
        Image.open(path).convert("RGB").save(path.with_name(f"copy-{path.name}"))
    rows, _ = placed(tmp_path)
    assert len(rows) == 90
    assert rows["sha256"].nunique() == 60


def test_examples_that_move_with_another_form_are_said_but_not_those_of_other_data(tmp_path):
    coloured_images(tmp_path / "data")
    former, _ = placed(tmp_path, images=ImagePolicy(size=6))
    now, said = placed(tmp_path, images=ImagePolicy(size=5))
    moved = (former["split"] != now.loc[former.index, "split"]).sum()
    assert moved
    assert [text.partition(" examples")[0] for text in said] == [f"{moved} of 60"]
    (tmp_path / "data" / "source.json").write_text('{"name": "other"}')
    assert placed(tmp_path, images=ImagePolicy(size=7))[1] == []

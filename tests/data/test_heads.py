"""Labels of several heads: read from columns of any table, stored together, and refused in one sentence."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from properties import assert_explains

from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput
from espalier.params import check
from espalier.prediction import Regression
from espalier.settings.data import Columns, DataSettings
from espalier.settings.tasks import HeadSettings

SIZES = ("low", "high")
HEADS = {
    "digit": HeadSettings(label="label"),
    "size": HeadSettings(weight=2.0),
    "ink": HeadSettings(),
    "signs": HeadSettings(task="multilabel"),
}


@pytest.fixture
def labelled(table):
    """The scans with four labels each: a number, a word, a value, a set."""
    pixels = np.stack([np.frombuffer(one["bytes"], np.uint8)[-64:] for one in table["image"]])
    digits = table["label"]
    return table.assign(
        size=digits.map(lambda digit: SIZES[digit > 4]),
        ink=pixels.astype(float).mean(1),
        signs=digits.map(
            lambda digit: [["even", "odd"][digit % 2], *["round"] * (digit in (0, 8))]
        ),
    )


def rows(labelled):
    """The same without pictures: columns of numbers and the labels in words and numbers."""
    blocks = {f"block{n}": np.arange(len(labelled)) * (n + 0.5) for n in range(3)}
    table = pd.DataFrame(blocks).join(labelled.drop(columns="image"))
    return table.assign(signs=labelled["signs"].map(";".join))


def test_pictures_in_parquet_have_the_targets_of_every_head(labelled, write, prepared, tmp_path):
    write(labelled, tmp_path / "data" / "all.parquet")
    dataset = prepared(tmp_path / "data", heads=HEADS)
    assert dataset.task == "heads"
    digits = tuple(f"digit: {digit}" for digit in range(10))
    others = ("size: high", "size: low", "ink", "signs: even", "signs: odd", "signs: round")
    assert dataset.classes == digits + others
    task = dataset.build_task()
    assert [(head.name, head.task.name, head.weight) for head in task.heads] == [
        ("digit", "classification", 1.0),
        ("size", "classification", 2.0),
        ("ink", "regression", 1.0),
        ("signs", "multilabel", 1.0),
    ]
    targets = read_split(tmp_path / "prepared", "train").targets
    assert targets.dtype == torch.float32
    digit, size, ink, signs = (head.targets_of(targets) for head in task.heads)
    assert torch.equal(size, (digit < 5).long())  # classes in the order of the words
    assert torch.equal(signs[:, 0], (digit % 2 == 0).float())
    assert torch.equal(signs[:, 2], ((digit == 0) | (digit == 8)).float())
    assert task.heads[2].task == Regression(**task.heads[2].task.__dict__)
    assert task.heads[2].task.mean == pytest.approx(ink.mean().item(), rel=1e-5)
    assert read_dataset(tmp_path / "prepared") == dataset
    manifest = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet")
    train = np.stack(manifest.query("split == 'train'")["label"].to_list())
    assert np.array_equal(train.astype(np.float32), targets.numpy())


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_rows_give_the_same_targets_in_every_format(labelled, write, prepared, tmp_path, kind):
    folder, table = tmp_path / "data", rows(labelled)
    folder.mkdir()
    if kind == "csv":
        table.to_csv(folder / "all.csv", index=False)
    elif kind == "parquet":
        write(table, folder / "all.parquet")
    else:
        lines = [json.dumps(row) for row in table.to_dict("records")]
        (folder / "all.jsonl").write_text("\n".join(lines))
    dataset = prepared(folder, heads=HEADS)
    assert dataset.facts.columns == ("block0", "block1", "block2")  # no label is a feature
    manifest = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet").sort_values("row")
    found = np.stack(manifest["label"].to_list())
    digit = labelled["label"].to_numpy()
    assert np.array_equal(found[:, 0], digit)
    assert np.array_equal(found[:, 1], digit < 5)
    assert found[:, 2] == pytest.approx(labelled["ink"].to_numpy())
    assert np.array_equal(found[:, 3], digit % 2 == 0)


def test_a_listing_of_pictures_has_heads_too(labelled, prepared, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    names = [f"{number}.png" for number in range(len(labelled))]
    for name, image in zip(names, labelled["image"], strict=True):
        (folder / name).write_bytes(image["bytes"])
    table = labelled.drop(columns=["image", "signs"]).assign(file_name=names)
    table.to_csv(folder / "all.csv", index=False)
    few = {name: HEADS[name] for name in ("digit", "ink")}
    dataset = prepared(folder, heads=few)
    assert (dataset.kind, dataset.task) == ("image", "heads")
    assert dataset.build_task().heads[1].task.name == "regression"


def test_whole_numbers_of_a_head_are_names_of_classes_and_may_begin_anywhere(
    labelled, write, prepared, tmp_path
):
    write(labelled.assign(label=labelled["label"] * 2 + 7), tmp_path / "data" / "all.parquet")
    dataset = prepared(tmp_path / "data", heads={"digit": HEADS["digit"], "ink": HEADS["ink"]})
    assert dataset.classes[:3] == ("digit: 7", "digit: 9", "digit: 11")


def test_students_of_some_classes_are_refused_with_several_heads(
    labelled, write, prepared, tmp_path
):
    write(labelled, tmp_path / "data" / "all.parquet")
    dataset = prepared(tmp_path / "data", heads=HEADS)
    with pytest.raises(BadInput) as refusal:
        dataset.concepts({"low": ["size: low"]})
    assert_explains(refusal.value, "`classes`", "found several heads", "leave `classes` out")


def spoilt(column, values):
    def change(table):
        table = table.astype({column: object})
        table.loc[: len(values) - 1, column] = values
        return table

    return change


@pytest.mark.parametrize(
    ("change", "heads", "expected"),
    [
        (spoilt("size", [None, "low"]), HEADS, r"to have a \w+.*; found 1 of 1797 without"),
        (spoilt("ink", ["", 3.0]), HEADS, "the column `ink` of .*; found 1 of 1797"),
        (spoilt("ink", ["much", 3.0]), {"ink": HeadSettings(task="regression")}, "found 'much'"),
        (lambda table: table.drop(columns="ink"), HEADS, "the column `ink`, the labels of the head"),
        (lambda table: table.assign(size="low"), HEADS, "head size .* different labels"),
        (
            lambda table: table.assign(split=["test", *["train"] * (len(table) - 1)], size=[
                "rare", *table["size"][1:]
            ]),
            HEADS,
            "class of the head size to have examples in train; found none of rare, 1 of 3",
        ),
    ],
)  # fmt: skip
def test_bad_labels_of_a_head_are_refused(labelled, prepared, tmp_path, change, heads, expected):
    (tmp_path / "data").mkdir()
    change(rows(labelled)).to_csv(tmp_path / "data" / "all.csv", index=False)
    with pytest.raises(BadInput, match=expected) as refusal:
        prepared(tmp_path / "data", heads=heads)
    assert_explains(refusal.value)


def test_folders_of_classes_have_no_heads(table, prepared, tmp_path):
    for number, (image, label) in enumerate(zip(table["image"], table["label"], strict=True)):
        path = tmp_path / "data" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image["bytes"])
    with pytest.raises(BadInput, match=r"`data.heads` in columns of parquet.*found folders") as it:
        prepared(tmp_path / "data", heads=HEADS)
    assert_explains(it.value)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: DataSettings(heads=HEADS, task="regression"), "found `data.task` beside"),
        (
            lambda: DataSettings(heads=HEADS, columns=Columns(label="x")),
            "`data.columns.label` besid",
        ),
        (lambda: DataSettings(heads={"a.b": HeadSettings()}), r"letters, digits.*found 'a\.b'"),
        (lambda: HeadSettings(weight=0), "weight` to be above 0; found 0"),
        (lambda: HeadSettings(tolerance=-1), "tolerance` to be above 0; found -1"),
        (
            lambda: HeadSettings(tolerance=1, task="multilabel"),
            "`task: regression`; found multilab",
        ),
    ],
)
def test_settings_of_heads_are_refused_by_name(make, expected):
    with pytest.raises(BadInput, match=expected):
        make()


def test_an_unknown_key_of_a_head_is_named():
    content = {"teacher": {"model": "espalier:mlp"}, "data": {"heads": {"ink": {"wieght": 2}}}}
    with pytest.raises(BadInput, match=r"no key `data\.heads\.ink\.wieght`"):
        check(content)

"""Missing sets of labels: the empty set wherever labels are sets, whether or not the task is given."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from properties import assert_explains

from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.settings.data import Columns
from espalier.settings.tasks import HeadSettings

SETS = [["red"], ["red", "blue"], ["blue"]]
COUNT = 120
TASKS = {"data.task": {}, "data.task: multilabel": {"task": "multilabel"}}


def rows(without):
    """Rows of numbers with sets of labels, every eighth without its set."""
    for number in range(COUNT):
        row = {"size": number + 0.5, "tags": SETS[number % 3], "shape": "ab"[number % 2]}
        yield without(row) if number % 8 == 0 else row


def null(row):
    return row | {"tags": None}


def absent(row):
    return {name: value for name, value in row.items() if name != "tags"}


def as_lines(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows))


def empty_sets(place):
    """The number of examples of all splits without a label, of the last two targets."""
    splits = [read_split(place, name) for name in ("train", "validation", "test")]
    targets = np.concatenate([split.targets.numpy() for split in splits])
    return int((targets[:, -2:] == 0).all(1).sum())


@pytest.mark.parametrize("without", [null, absent])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_rows_without_a_set_have_the_empty_one(prepared, tmp_path, without, task):
    as_lines(tmp_path / "data" / "all.jsonl", rows(without))
    dataset = prepared(tmp_path / "data", columns=Columns(label="tags", ignore=("shape",)), **task)
    assert dataset.task == "multilabel"
    assert dataset.classes == ("blue", "red")
    assert empty_sets(tmp_path / "prepared") == COUNT / 8


@pytest.mark.parametrize("without", [null, absent])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_rows_without_the_set_of_a_head_have_the_empty_one(prepared, tmp_path, without, task):
    as_lines(tmp_path / "data" / "all.jsonl", rows(without))
    heads = {"shape": HeadSettings(), "tags": HeadSettings(**task)}
    dataset = prepared(tmp_path / "data", heads=heads)
    assert dataset.build_task().heads[1].task.name == "multilabel"
    assert empty_sets(tmp_path / "prepared") == COUNT / 8


def test_the_task_follows_from_all_files_and_one_of_them_may_have_no_sets(prepared, tmp_path):
    as_lines(tmp_path / "data" / "train.jsonl", rows(null))
    few = [{**row, "size": -row["size"], "tags": None} for row in rows(null)][:20]
    as_lines(tmp_path / "data" / "test.jsonl", few)
    columns = Columns(label="tags", ignore=("shape",))
    assert prepared(tmp_path / "data", columns=columns).task == "multilabel"
    assert empty_sets(tmp_path / "prepared") == COUNT / 8 + len(few)


@pytest.mark.parametrize("heads", [{}, {"tags": HeadSettings(), "shape": HeadSettings()}])
@pytest.mark.parametrize("without", [null, absent])
def test_listed_images_without_a_set_have_the_empty_one(prepared, tmp_path, without, heads):
    listed = []
    for number, row in enumerate(rows(without)):
        name = f"{number}.png"
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / "data" / name)
        listed.append({"file_name": name, **row})
    as_lines(tmp_path / "data" / "list.jsonl", listed)
    columns = Columns(label=None if heads else "tags")
    assert prepared(tmp_path / "data", heads=heads, columns=columns).kind == "image"
    manifest = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet")
    without_any = [not any(label[:2]) if heads else not len(label) for label in manifest["label"]]
    assert sum(without_any) == COUNT / 8


def test_names_that_a_mark_separates_need_the_task_and_the_refusal_says_so(prepared, tmp_path):
    (tmp_path / "data").mkdir()
    table = pd.DataFrame(rows(null)).drop(columns="shape")
    table["tags"] = table["tags"].map(lambda tags: ";".join(tags or []))
    table.to_csv(tmp_path / "data" / "all.csv", index=False)
    columns = Columns(label="tags")
    with pytest.raises(BadInput) as refusal:
        prepared(tmp_path / "data", columns=columns)
    assert_explains(refusal.value, "`tags`", "15 of 120 without", "`task: multilabel`")
    assert prepared(tmp_path / "data", columns=columns, task="multilabel").task == "multilabel"


def test_a_missing_class_is_no_empty_set(prepared, tmp_path):
    lines = [row | {"tags": (row["tags"] or [None])[0]} for row in rows(null)]
    as_lines(tmp_path / "data" / "all.jsonl", lines)
    with pytest.raises(BadInput) as refusal:
        prepared(tmp_path / "data", columns=Columns(label="tags"))
    assert "multilabel" not in str(refusal.value)
    assert_explains(refusal.value, "`tags`", "15 of 120 without", "row 0")

"""Kinds of examples and tasks follow from files, columns and labels, and are said in one line."""

import json
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from examples_of_kinds import pixels_as_table, sentences, texts_as_lines, tone, tones
from PIL import Image
from properties import assert_explains

from espalier.data import layout
from espalier.data.prepare import prepare
from espalier.data.prepared import read_dataset, read_split
from espalier.errors import BadInput, Notice
from espalier.settings.audio import AudioPolicy
from espalier.settings.data import Columns, DataSettings
from espalier.settings.tasks import TaskSettings
from espalier.settings.texts import TextPolicy


@pytest.fixture(scope="module")
def digits(digits, tmp_path_factory):
    """The prepared digits."""
    place = tmp_path_factory.mktemp("prepared")
    prepare(digits, place / "prepared", DataSettings(seed=0), workshop=place / "work")
    return place / "prepared"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def prepare_folder(tmp_path, folder):
    """Prepare the folder."""

    def run(**settings):
        settings = DataSettings(seed=0, **settings)
        return prepare(folder, tmp_path / "prepared", settings, workshop=tmp_path / "work")

    return run


def digits_as_classes(folder, digits):
    pixels_as_table(digits, folder / "digits.csv")


def digits_as_numbers(folder, digits):
    pixels_as_table(digits, folder / "ink.csv", "ink")


def digits_as_numbers_by_key(folder, digits):
    pixels_as_table(digits, folder / "digits.csv")


def digits_as_parquet(folder, digits):
    table = pd.read_csv(pixels_as_table(digits, folder / "digits.csv"))
    (folder / "digits.csv").unlink()
    table.to_parquet(folder / "digits.parquet")


def texts(folder, digits):
    texts_as_lines(folder / "texts.jsonl")


def texts_in_folders(folder, digits):
    for number, (text, page) in enumerate(sentences()):
        (folder / page).mkdir(exist_ok=True)
        (folder / page / f"{number}.txt").write_text(text)


def sets_of_words(folder, digits):
    texts_as_lines(folder / "texts.jsonl", sets=True)


def sets_in_a_column(folder, digits):
    texts_as_lines(folder / "texts.jsonl", sets=True)
    lines = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    rows = [{**line, "label": "; ".join(line["label"])} for line in lines]
    pd.DataFrame(rows).to_csv(folder / "texts.csv", index=False)
    (folder / "texts.jsonl").unlink()


def clips(folder, digits):
    tones(folder)


def clips_in_a_listing(folder, digits):
    tones(folder / "wav")
    files = sorted(folder.rglob("*.wav"))
    rows = {
        "path": [str(one.relative_to(folder)) for one in files],
        "label": [one.parent.name for one in files],
    }
    pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)


def clips_in_parquet(folder, digits):
    tones(folder / "wav")
    files = sorted(folder.rglob("*.wav"))
    rows = {
        "audio": [{"bytes": one.read_bytes(), "path": one.name} for one in files],
        "label": [one.parent.name for one in files],
    }
    pd.DataFrame(rows).to_parquet(folder / "clips.parquet")
    for one in files:
        one.unlink()


KINDS = [
    (digits_as_classes, {}, "rows, 17 columns, 1 of them categories, 10 classes"),
    (digits_as_parquet, {}, "rows, 17 columns, 1 of them categories, 10 classes"),
    (digits_as_numbers, {}, "rows, 17 columns, 1 of them categories, predicting label, right within"),
    (digits_as_numbers_by_key, {"task": TaskSettings(name="regression", tolerance=2)}, "right within 2"),
    (digits_as_classes, {"columns": Columns(label="dark", ignore=("label",))}, "rows, 16 columns, "),
    (texts, {}, r"texts, up to \d+ of [\d,]+ tokens, 3 classes"),
    (texts_in_folders, {}, r"texts, up to \d+ of [\d,]+ tokens, 3 classes"),
    (sets_of_words, {}, "sets of 3 labels"),
    (sets_in_a_column, {"task": "multilabel"}, "sets of 3 labels"),
    (clips, {}, r"clips, 0\.25 s at 4 kHz, 3 classes"),
    (clips_in_a_listing, {}, r"clips, 0\.25 s at 4 kHz, 3 classes"),
    (clips_in_parquet, {}, r"clips, 0\.25 s at 4 kHz, 3 classes"),
    (clips, {"arrays": "examples_of_kinds:arrays"}, "tensors, 2x5, 2 classes"),
    (clips, {"arrays": "examples_of_kinds:arrays_by_split"}, "tensors, 2x5, predicting value"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
@pytest.mark.parametrize(("write", "settings", "said"), KINDS)
def test_kind_and_task_follow_from_the_data_and_are_said(
    folder, digits, prepare_folder, write, settings, said
):
    write(folder, digits)
    dataset = prepare_folder(**settings)
    assert re.search(said, dataset.describe()), dataset.describe()


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
@pytest.mark.parametrize("write", [digits_as_classes, digits_as_numbers, sets_of_words, clips])
def test_prepared_data_are_read_back_in_their_types_and_equal_data_give_equal_bytes(
    folder, digits, prepare_folder, tmp_path, write
):
    write(folder, digits)
    dataset = prepare_folder()
    first = (tmp_path / "prepared" / "dataset.json").read_bytes()
    assert prepare_folder().files == dataset.files
    assert (tmp_path / "prepared" / "dataset.json").read_bytes() == first
    again = read_dataset(tmp_path / "prepared")
    assert again == dataset
    split = read_split(tmp_path / "prepared", "train")
    assert split.inputs.dtype == dataset.input.dtype
    assert split.inputs.shape[1:] == dataset.shape
    types = {"classification": torch.int64, "regression": torch.float32, "multilabel": torch.uint8}
    assert split.targets.dtype == types[dataset.task]
    assert len(split.targets) == dataset.counts["train"]


def rows_by_split(columns):
    """40 rows of train, 10 of validation and 10 of test; `columns` gives the cells by split and number."""
    counts = {"train": 40, "validation": 10, "test": 10}
    return pd.DataFrame(
        [
            {**columns(split, number), "label": number % 2, "split": split}
            for split, count in counts.items()
            for number in range(count)
        ]
    )


def test_facts_are_of_the_train_split_alone(folder, prepare_folder):
    """A category that only test has is unknown, and a test number moves no mean."""

    def columns(split, number):
        size = {"train": 0, "validation": 1e5, "test": 1e6}[split] + number
        return {"size": size, "colour": "red" if split == "train" else "blue"}

    rows_by_split(columns).to_csv(folder / "rows.csv", index=False)
    facts = prepare_folder().facts
    assert facts.categories == ((), ("red",))
    assert facts.mean[0] == np.arange(40).mean()


def test_a_vocabulary_is_of_the_train_split_alone(folder, prepare_folder, tmp_path):
    def columns(split, number):
        word = "common" if split == "train" else "secret secret"
        return {"text": f"{word} words {split} {'x' * number}"}

    rows_by_split(columns).to_csv(folder / "texts.csv", index=False)
    dataset = prepare_folder()
    vocabulary = dataset.facts.tokenizer["model"]["vocab"]
    assert "common" in vocabulary
    assert "secret" not in vocabulary
    tokens = read_split(tmp_path / "prepared", "test").inputs[0].numpy()
    assert dataset.input.display(tokens, dataset.facts).startswith("[?] [?] words [?]")


def test_subwords_know_words_that_train_has_not(folder, prepare_folder, tmp_path):
    texts_as_lines(folder / "texts.jsonl")
    dataset = prepare_folder(text=TextPolicy(tokens="subwords", vocabulary=400))
    test = read_split(tmp_path / "prepared", "test").inputs
    assert (test == 1).float().mean() < 0.01
    assert dataset.facts.vocabulary <= 400


def test_clips_of_another_rate_are_resampled_and_that_is_said(folder, prepare_folder):
    tones(folder)
    tone(folder / "low" / "fast.wav", 250, rate=8000)
    with pytest.warns(Notice, match="1 of 121 clips: resampled from 8000 to 4000"):
        assert prepare_folder().facts.rate == 4000


def test_clips_are_cut_to_a_length_and_that_is_said(folder, prepare_folder):
    tones(folder)
    with pytest.warns(Notice, match=r"clips: cut to 0\.10 s"):
        assert prepare_folder(audio=AudioPolicy(seconds=0.1)).shape == (400,)


def damaged_clip(folder):
    tones(folder)
    (folder / "low" / "bad.wav").write_bytes(b"RIFF and nothing")


def empty_text(folder):
    texts_as_lines(folder / "texts.jsonl")
    with (folder / "texts.jsonl").open("a") as file:
        file.write('\n{"text": " ", "label": "data"}')


def rows_of_texts(first):
    """The lines of a CSV of texts, with the first text."""
    texts = [first, *(f"word {number}" for number in range(20))]
    rows = "".join(f"{text},{'ab'[number % 2]}\n" for number, text in enumerate(texts))
    return f"text,label\n{rows}"


def empty_cell(folder):
    (folder / "texts.csv").write_text(rows_of_texts(""))


def a_cell_that_reads_null(folder):
    (folder / "texts.csv").write_text(rows_of_texts("null"))


def another_encoding(folder):
    (folder / "texts.csv").write_text(rows_of_texts("grün"), "latin-1")


def another_encoding_of_lines(folder):
    (folder / "texts.jsonl").write_text('{"text": "grün", "label": "a"}', "latin-1")


def another_encoding_of_a_text(folder):
    for number in range(8):
        path = folder / "ab"[number % 2] / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("rot" if number else "grün", "latin-1")


def another_encoding_of_a_listing(folder):
    Image.new("L", (4, 4)).save(folder / "0.png")
    (folder / "list.csv").write_text("file,label\n0.png,grün\n", "latin-1")


def one_number_among_classes(folder):
    labels = [0, 1] * 20 + [0.5]
    pd.DataFrame({"size": range(41), "label": labels}).to_csv(folder / "rows.csv", index=False)


def a_row_without_label(folder):
    pd.DataFrame({"size": range(4), "label": ["a", "b", None, "a"]}).to_csv(
        folder / "rows.csv", index=False
    )


def no_features(folder):
    pd.DataFrame({"label": ["a", "b"]}).to_csv(folder / "rows.csv", index=False)


def other_columns(folder):
    pd.DataFrame({"size": range(4), "label": 0}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"width": range(4), "label": 0}).to_csv(folder / "test.csv", index=False)


def no_label(folder):
    pd.DataFrame({"size": range(4), "price": range(4)}).to_csv(folder / "rows.csv", index=False)


def a_column_of_files(folder):
    rows = {"photo": [{"bytes": b"x", "path": "a"}] * 4, "label": [0, 1, 0, 1]}
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")


def a_number_too_large(folder):
    pd.DataFrame({"size": [1.0, 2.0, 1e39, 3.0], "label": [0, 1, 0, 1]}).to_csv(
        folder / "rows.csv", index=False
    )


def all_alike(folder):
    pd.DataFrame({"size": range(4), "label": [0.5] * 4}).to_csv(folder / "rows.csv", index=False)


REFUSED = [
    (damaged_clip, ("1 that is not", "bad.wav", "skip_bad: 1")),
    (empty_text, ("texts", "an empty text", "texts.jsonl, row")),
    (empty_cell, ("texts.csv, row 0", "an empty cell", "NA, NaN, nan and null")),
    (a_cell_that_reads_null, ("texts.csv, row 0", "an empty cell", "NA, NaN, nan and null")),
    (another_encoding, ("texts.csv", "byte 0xfc", "save it as UTF-8")),
    (another_encoding_of_lines, ("texts.jsonl", "byte 0xfc", "save it as UTF-8")),
    (another_encoding_of_a_text, ("0.txt", "byte 0xfc", "save it as UTF-8")),
    (another_encoding_of_a_listing, ("list.csv", "byte 0xfc", "save it as UTF-8")),
    (one_number_among_classes, ("0.5", "row 40", "data.task: regression")),
    (a_row_without_label, ("rows.csv", "1 of 4 without", "row 2")),
    (no_features, ("columns of features", "no column beside the label")),
    (other_columns, ("test.csv", "size")),
    (no_label, ("`label`", "size, price", "data.columns")),
    (all_alike, ("different labels", "0.5")),
    (a_number_too_large, ("a number beyond", "rows.csv, row 2", "skip_bad: 1")),
    (a_column_of_files, ("'photo'", "rows.parquet", "{image: photo}")),
]


@pytest.mark.parametrize(("write", "words"), REFUSED)
def test_bad_examples_are_refused_by_file_and_row(folder, prepare_folder, write, words):
    write(folder)
    with pytest.raises(BadInput) as refusal:
        prepare_folder()
    assert_explains(refusal.value, *words)


def test_a_column_that_numbers_its_rows_is_refused_with_the_way_out(folder, prepare_folder):
    rows = {"name": [f"row {number}" for number in range(2000)], "size": np.arange(2000.0)}
    table = pd.DataFrame(rows).assign(label=lambda rows: rows.index % 2)
    table.to_csv(folder / "rows.csv", index=False)
    with pytest.raises(BadInput, match=r"ignore: \[name\]"):
        prepare_folder()
    assert prepare_folder(columns=Columns(ignore=("name",))).shape == (1,)


def test_a_function_that_gives_something_else_is_refused(folder):
    for place in ("examples_of_kinds:sentences", "examples_of_kinds:nothing"):
        with pytest.raises(BadInput):
            layout.read(folder, settings=DataSettings(arrays=place))


def test_images_beside_a_table_are_still_the_data(folder, digits):
    """A CSV of other facts in a folder of images does not change what the examples are."""
    for number in range(6):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
    pd.DataFrame({"size": range(4), "label": 0}).to_csv(folder / "notes.csv", index=False)
    with pytest.warns(Notice, match="1 .csv"):
        assert layout.read(folder).kind == "image"


def test_listed_images_need_no_ending(folder):
    for number in range(6):
        path = folder / "files" / f"image{number}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path, "PNG")
    files = [f"files/image{number}" for number in range(6)]
    pd.DataFrame({"file": files, "label": [0, 1] * 3}).to_csv(folder / "list.csv", index=False)
    assert layout.read(folder).kind == "image"


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (lambda row: row + 0.5, "regression"),
        (lambda row: ["even", "odd"][row % 2], "classification"),
    ],
)
def test_a_drawn_split_without_examples_is_refused_before_anything_is_trained(
    prepare_folder, folder, target, task
):
    rows = [{"a": row, "b": -row * row, "target": target(row)} for row in range(30)]
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    with pytest.raises(BadInput) as error:
        prepare_folder(task=TaskSettings(name=task), test=1e-9)
    assert_explains(error.value, "some of the 30 rows", "none", "split: exact", "data.test")


def test_a_class_without_an_example_in_a_split_is_named(prepare_folder, folder):
    rows = [
        {"a": row, "b": -row * row, "label": "rare" if row < 3 else "usual"} for row in range(300)
    ]
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    with pytest.warns(Notice, match="1 of 2 classes have no example in test, such as rare"):
        prepare_folder(test=0.05)


@pytest.mark.parametrize("file", ["labels.csv", "labels.jsonl"])
def test_an_empty_label_of_a_listed_image_is_refused_by_its_row(prepare_folder, folder, file):
    """It would become a class without a name, and turn numbers into words."""
    for number in range(12):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / f"{number}.png")
    labels = [str(number) for number in range(12)]
    labels[5] = ""
    table = pd.DataFrame({"file_name": [f"{number}.png" for number in range(12)], "label": labels})
    if file.endswith("csv"):
        table.to_csv(folder / file, index=False)
    else:
        table.to_json(folder / file, orient="records", lines=True)
    with pytest.raises(BadInput) as error:
        prepare_folder()
    assert_explains(error.value, "every row", "1 of 12 without", "row 5")


def test_a_category_is_the_same_one_in_every_file(prepare_folder, folder):
    """A missing cell makes numbers of the column in one file, and a word makes words of it in another one."""
    rng = np.random.default_rng(0)
    for split, cells in (("train", ["1", "2", "3", ""]), ("test", ["1", "2", "3", "x"])):
        grades = [*cells, *rng.choice(["1", "2", "3"], 76)]
        table = pd.DataFrame({"grade": grades, "size": rng.random(80), "label": ["a", "b"] * 40})
        table.to_csv(folder / f"{split}.csv", index=False)
    prepared = prepare_folder(validation=0.2)
    rows = read_split(folder.parent / "prepared", "test").inputs
    assert prepared.counts["test"] == 80
    assert (rows[:, 0] == -1).sum() == 1  # the cell x, which is in no other file


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_text_may_hold_the_line_separators_of_unicode(prepare_folder, folder, separator):
    lines = [
        {"text": f"number {row}{separator}and more", "label": ["a", "b"][row % 2]}
        for row in range(60)
    ]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "texts.jsonl").write_text("\ufeff" + text, "utf-8")
    assert sum(prepare_folder().counts.values()) == 60


def test_missing_and_decimal_cells_of_parquet_are_those_of_any_table(prepare_folder, folder):
    rng = np.random.default_rng(0)
    count = pd.array(rng.integers(0, 9, 80), dtype="Int64")
    count[3] = pd.NA
    word = pd.array(rng.choice(["red", "blue"], 80), dtype="string")
    word[4] = pd.NA
    time = pd.Series(pd.to_datetime(["2026-01-01", None] * 40))
    price = [Decimal(int(number)) / 100 for number in rng.integers(1, 999, 80)]
    columns = {"count": count, "word": word, "time": time, "price": price, "label": ["a", "b"] * 40}
    pd.DataFrame(columns).to_parquet(folder / "rows.parquet")
    prepare_folder()
    facts = read_dataset(folder.parent / "prepared").facts
    categories = dict(zip(facts.columns, facts.categories, strict=True))
    assert categories["count"] == categories["price"] == ()
    assert categories["word"] == ("blue", "red")
    assert len(categories["time"]) == 1


def test_a_missing_word_among_labels_of_parquet_is_refused_by_its_row(prepare_folder, folder):
    label = pd.array(["a", "b"] * 40, dtype="string")
    label[7] = pd.NA
    pd.DataFrame({"size": range(80), "other": range(80), "label": label}).to_parquet(
        folder / "rows.parquet"
    )
    with pytest.raises(BadInput) as error:
        prepare_folder()
    assert_explains(error.value, "a label", "1 of 80 without", "row 7")

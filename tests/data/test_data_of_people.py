"""Data as people have them: every layout and every kind of image with its outcome, and none left out unsaid."""

import io
import json
import tarfile
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from properties import assert_explains

from espalier.data import layout
from espalier.data.prepared import read_split
from espalier.errors import BadInput, Notice
from espalier.inputs.image import decode
from espalier.settings.images import ImagePolicy

CLASSES = ("ant", "bee", "cat")
EACH = 12
SIDE = 8


def pixels(number: int, mode: str = "RGB", side: int = SIDE) -> Image.Image:
    values = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def content(number: int, kind: str = "PNG", **keys) -> bytes:
    buffer = io.BytesIO()
    pixels(number).save(buffer, kind, **keys)
    return buffer.getvalue()


def put(path, number, **keys):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(number, **keys))


def rows(split=""):
    """File name, image, class and split of each example."""
    for number in range(EACH * len(CLASSES)):
        yield f"{number:03}", number, CLASSES[number % len(CLASSES)], split


def in_class_folders(folder, above=""):
    for name, number, label, _ in rows():
        put(folder / above / label / f"{name}.png", number)


def as_frame(labels, image="image", label="label"):
    cells = [{"bytes": content(number)} for _, number, _, _ in rows()]
    return pd.DataFrame({image: cells, label: [labels[one] for _, _, one, _ in rows()]})


def save(frame, path, metadata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path)


def names(first, second):
    def lay(folder):
        for above, shift in ((first, 0), (second, 100)):
            for name, number, label, _ in rows():
                put(folder / above / label / f"{name}.png", number + shift)

    return lay


NUMBERS = {name: number for number, name in enumerate(CLASSES)}
HUGGING_FACE = {
    b"huggingface": json.dumps(
        {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    ).encode()
}


def words(folder):
    save(as_frame({name: name for name in CLASSES}), folder / "all.parquet")


def categories(folder):
    frame = as_frame({name: name for name in CLASSES})
    save(frame.assign(label=frame["label"].astype("category")), folder / "all.parquet")


def hugging_face(folder):
    save(as_frame(NUMBERS), folder / "train.parquet", HUGGING_FACE)


def whole_floats(folder):
    save(
        as_frame({name: float(number) for name, number in NUMBERS.items()}), folder / "all.parquet"
    )


def other_columns(folder):
    save(as_frame(NUMBERS, "picture", "kind"), folder / "all.parquet")


def from_one(folder):
    save(as_frame({name: number + 1 for name, number in NUMBERS.items()}), folder / "all.parquet")


def shards_with_hash(folder):
    frame = as_frame(NUMBERS)
    save(frame[:18], folder / "train-00000-of-00001-a09b74b3ef9c3b56.parquet")
    save(frame[18:], folder / "test-00000-of-00001-7af4b9e1f7d8c3a2.parquet")


def with_prefix(folder):
    frame = as_frame(NUMBERS)
    save(frame[:18], folder / "animals_train.parquet")
    save(frame[18:], folder / "animals_test.parquet")


def in_split_folders(folder):
    frame = as_frame(NUMBERS)
    save(frame[:18], folder / "default" / "train" / "0000.parquet")
    save(frame[18:], folder / "default" / "test" / "0000.parquet")


def paths_in_parquet(folder):
    in_class_folders(folder, "images")
    cells = [{"bytes": None, "path": f"images/{label}/{name}.png"} for name, _, label, _ in rows()]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = [NUMBERS[label] for _, _, label, _ in rows()]
    pq.write_table(
        pa.table({"image": pa.array(cells, kind), "label": labels}), folder / "all.parquet"
    )


def csv(folder):
    for name, number, _, _ in rows():
        put(folder / "images" / f"{name}.png", number)
    table = pd.DataFrame(
        {
            "file_name": [f"images/{name}.png" for name, *_ in rows()],
            "label": [one for _, _, one, _ in rows()],
        }
    )
    table.to_csv(folder / "metadata.csv", index=False)


def json_lines(folder):
    csv(folder)
    table = pd.read_csv(folder / "metadata.csv")
    (folder / "metadata.csv").unlink()
    table.to_json(folder / "metadata.jsonl", orient="records", lines=True)


def tar(folder):
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "animals-000000.tar", "w") as shard:
        for name, number, label, _ in rows():
            for ending, part in (("png", content(number)), ("cls", str(NUMBERS[label]).encode())):
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(part)
                shard.addfile(member, io.BytesIO(part))


def tar_of_a_mac(folder):
    """Its archiver adds a hidden file beside each file."""
    tar(folder)
    with tarfile.open(folder / "animals-000000.tar", "a") as shard:
        for name in (".DS_Store", "._ant0.png", "._ant0.cls"):
            member = tarfile.TarInfo(name)
            member.size = 6
            shard.addfile(member, io.BytesIO(b"hidden"))


def first_folder(folder):
    for name, number, label, _ in rows():
        put(folder / label / f"box{number % 2}" / f"{name}.png", number)


def last_folder(folder):
    for name, number, label, _ in rows():
        put(folder / f"box{number % 2}" / label / f"{name}.png", number)


def beside_other_files(folder):
    in_class_folders(folder)
    (folder / "README.md").write_text("A folder of photos.")
    (folder / "weather.csv").write_text("day,rain\n1,0\n")
    (folder / "bee" / "notes.txt").write_text("taken in May")
    (folder / "bee" / ".DS_Store").write_bytes(b"hidden")


def with_other_endings(folder):
    in_class_folders(folder)
    for number, path in enumerate(sorted((folder / "ant").iterdir())):
        path.unlink()
        put(
            path.with_suffix((".jfif", ".JPG", ".webp")[number % 3]),
            number,
            kind=("JPEG", "JPEG", "WEBP")[number % 3],
        )


LAYOUTS = [
    (in_class_folders, {}, None),
    (names("training", "testing"), {}, {"test": 36}),
    (names("train", "eval"), {}, {"validation": 36}),
    (names("Train", "Valid"), {}, {"validation": 36}),
    (words, {}, None),
    (categories, {}, None),
    (hugging_face, {}, None),
    (whole_floats, {}, None),
    (other_columns, {"columns": {"image": "picture", "label": "kind"}}, None),
    (from_one, {"first_label": 1}, None),
    (shards_with_hash, {}, {"test": 18}),
    (with_prefix, {}, {"test": 18}),
    (in_split_folders, {}, {"test": 18}),
    (paths_in_parquet, {}, None),
    (csv, {}, None),
    (json_lines, {}, None),
    (tar, {}, None),
    (tar_of_a_mac, {}, None),
    (first_folder, {"class_folder": "first"}, None),
    (last_folder, {"class_folder": "last"}, None),
    (beside_other_files, {}, None),
    (with_other_endings, {}, None),
]
NUMBERED = {
    "whole_floats",
    "other_columns",
    "from_one",
    "shards_with_hash",
    "with_prefix",
    "in_split_folders",
    "paths_in_parquet",
    "tar",
    "tar_of_a_mac",
}


def settings(keys):
    from pydantic import TypeAdapter

    from espalier.settings.data import DataSettings

    return TypeAdapter(DataSettings).validate_python(keys)


@pytest.mark.parametrize(
    ("lay", "keys", "given"), LAYOUTS, ids=[lay.__name__ for lay, _, _ in LAYOUTS]
)
@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_layout_gives_all_of_its_examples_in_their_classes_and_splits(tmp_path, lay, keys, given):
    from espalier.data.prepare import prepare

    folder = tmp_path / "data"
    folder.mkdir()
    lay(folder)
    dataset = prepare(folder, tmp_path / "prepared", settings(keys), workshop=tmp_path / "work")
    expected = EACH * len(CLASSES) * (2 if "lay" in lay.__name__ else 1)
    assert sum(dataset.counts.values()) == expected
    assert dataset.classes == (("0", "1", "2") if lay.__name__ in NUMBERED else CLASSES)
    assert all(dataset.counts[split] == count for split, count in (given or {}).items())
    examples = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet")
    assert examples["label"].value_counts().nunique() == 1


def deeper(folder):
    first_folder(folder)


def class_that_is_a_link(folder):
    in_class_folders(folder / "far")
    in_class_folders(folder / "data")
    (folder / "data" / "dog").symlink_to(folder / "far" / "ant", target_is_directory=True)


def broken_link(folder):
    in_class_folders(folder)
    (folder / "ant" / "gone.png").symlink_to("nowhere.png")


def names_that_disagree(folder):
    save(as_frame(NUMBERS), folder / "train" / "test.parquet")


def column_that_disagrees(folder):
    save(as_frame(NUMBERS).assign(split="train"), folder / "test.parquet")


def listed_outside(folder):
    csv(folder)
    put(folder.parent / "secret.png", 1)
    path = folder / "metadata.csv"
    path.write_text(path.read_text().replace("images/000.png", "../secret.png"))


def labels_from_one(folder):
    from_one(folder)


def image_in_no_class(folder):
    in_class_folders(folder, "train")
    put(folder / "train" / "lost.png", 1)


REFUSED = [
    (deeper, ["deeper folders", "data.class_folder"]),
    (class_that_is_a_link, ["dog", "link to a folder"]),
    (broken_link, ["gone.png", "broken link"]),
    (names_that_disagree, ["train/test.parquet", "test and train"]),
    (column_that_disagrees, ["test.parquet", "train"]),
    (listed_outside, ["../secret.png", "leads out"]),
    (labels_from_one, ["found none of 0", "data.first_label: 1"]),
    (image_in_no_class, ["lost.png", "no class"]),
]


@pytest.mark.parametrize(("lay", "words"), REFUSED, ids=[lay.__name__ for lay, _ in REFUSED])
def test_a_layout_that_would_lose_or_mix_examples_is_refused(tmp_path, lay, words):
    folder = tmp_path / "data"
    folder.mkdir()
    lay(folder)
    with pytest.raises(BadInput) as refusal:
        layout.read(folder / "data" if (folder / "data").is_dir() else folder)
    assert_explains(refusal.value, *words)


def test_files_that_are_no_images_are_counted(tmp_path):
    beside_other_files(tmp_path)
    with pytest.warns(
        Notice, match=r"Skipped 3 files in \S+ that are no examples: 1 \.\w+, 1 \.\w+, 1 \.\w+"
    ):
        layout.read(tmp_path)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_no_example_moves_to_another_split_while_data_grow_a_hundred_times(tmp_path):
    from espalier.data.source import Source, frame
    from espalier.data.splits import assign
    from espalier.settings.data import DataSettings

    def places(count):
        labels = [number % 3 for number in range(count)]
        source = Source(
            tmp_path,
            "images",
            "x",
            CLASSES,
            frame([f"{n}" for n in range(count)], range(count), labels, ""),
            lambda: iter(()),
        )
        hashes = [f"{number:064x}" for number in range(count)]
        return assign(source, hashes, CLASSES, DataSettings()).set_index("sha256")["split"]

    former = places(200)
    for count in (*range(210, 1000, 10), *range(1000, 22_000, 1000)):
        larger = places(count)
        assert (larger[former.index] == former).all()
        former = larger
    shares = former.value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.01)
    assert shares["validation"] == pytest.approx(0.8 * 0.15, abs=0.01)


def test_the_split_has_a_seed_of_its_own(tmp_path):
    from espalier.params import check

    teacher = {"teacher": {"model": "espalier:mlp"}}
    assert check(teacher | {"seed": 3}).data_settings.seed == 3
    assert check(teacher | {"seed": 3, "data": {"seed": 0}}).data_settings.seed == 0


def test_examples_that_move_are_said(tmp_path):
    from espalier.data.prepare import prepare

    in_class_folders(tmp_path / "data")
    keys = {"workshop": tmp_path / "work"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        prepare(tmp_path / "data", tmp_path / "prepared", split="exact", **keys)
        prepare(tmp_path / "data", tmp_path / "prepared", split="exact", **keys)
    with pytest.warns(Notice, match=r"\d+ of 36 examples are in another split"):
        prepare(tmp_path / "data", tmp_path / "prepared", split="exact", seed=5, **keys)


def test_an_image_under_two_labels_is_said(tmp_path):
    from espalier.data.prepare import prepare

    in_class_folders(tmp_path / "data")
    put(tmp_path / "data" / "bee" / "twin.png", 0)
    with pytest.warns(Notice, match=r"1 images have several labels, .*000\.png and .*twin\.png"):
        prepare(tmp_path / "data", tmp_path / "prepared", split="exact", workshop=tmp_path / "work")


def test_unreadable_images_are_left_out_up_to_the_number_that_is_allowed(tmp_path):
    from espalier.data.prepare import prepare

    in_class_folders(tmp_path / "data")
    for name in ("bad1.png", "bad2.png"):
        (tmp_path / "data" / "ant" / name).write_bytes(content(1)[:60])
    keys = {"workshop": tmp_path / "work", "split": "exact"}
    with pytest.raises(BadInput) as refusal:
        prepare(tmp_path / "data", tmp_path / "prepared", skip_bad=1, **keys)
    assert_explains(refusal.value, "found 2", "bad1.png", "data.skip_bad: 2")
    with pytest.warns(Notice, match=r"Left out 2 unreadable images: .*bad1\.png .*bad2\.png"):
        dataset = prepare(tmp_path / "data", tmp_path / "prepared", skip_bad=2, **keys)
    assert sum(dataset.counts.values()) == 36
    examples = pd.read_parquet(tmp_path / "prepared" / "manifest.parquet")
    assert not examples["file"].str.contains("bad").any()
    (row,) = examples[examples["file"] == "ant/003.png"].to_dict("records")
    part = examples[examples["split"] == row["split"]].reset_index(drop=True)
    place = part.index[part["file"] == "ant/003.png"][0]
    stored = read_split(tmp_path / "prepared", row["split"]).inputs[place].numpy()
    assert (stored == decode(content(3))).all()


# ---- kinds of images

COLOURS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **keys):
    buffer = io.BytesIO()
    image.save(buffer, kind, **keys)
    return buffer.getvalue()


def decoded(image, kind="PNG", policy=None, **keys):
    said = []
    found = decode(encoded(image, kind, **keys), policy, said.append)
    return found, said


def test_an_image_is_turned_by_its_orientation():
    image = Image.fromarray(COLOURS[:4])
    exif = image.getexif()
    exif[0x0112] = 6
    found, said = decoded(image, exif=exif)
    assert (found == np.rot90(COLOURS[:4], -1).transpose(2, 0, 1)).all()
    assert said == ["turned by their EXIF orientation"]


def test_sixteen_bits_are_scaled_to_eight():
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    found, said = decoded(Image.fromarray(values))
    assert np.abs(found[0] - values / 257).max() <= 0.5
    assert said == ["scaled from 16 bits to 8"]


def test_inks_become_colours():
    found, said = decoded(Image.fromarray(COLOURS).convert("CMYK"), "TIFF")
    assert (found == COLOURS.transpose(2, 0, 1)).all()
    assert said == ["converted from CMYK to RGB"]


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("black", 0)])
def test_transparent_pixels_are_put_on_a_colour(background, value):
    layers = np.dstack([COLOURS, np.full((8, 8), 255, np.uint8)])
    layers[0, :, 3] = 0
    found, said = decoded(Image.fromarray(layers), policy=ImagePolicy(alpha=background))
    assert (found[:, 0] == value).all()
    assert (found[:, 1:] == COLOURS.transpose(2, 0, 1)[:, 1:]).all()
    assert said == [f"transparent pixels put on {background}"]
    with pytest.raises(ValueError, match=r"data\.images\.alpha: white"):
        decode(encoded(Image.fromarray(layers)))


def test_the_first_of_several_frames_is_taken_and_that_is_said():
    frames = [Image.fromarray(np.full((8, 8), shade, np.uint8)) for shade in (10, 20)]
    found, said = decoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert (found == 10).all()
    assert said == ["only the first frame of several is taken"]


def test_ways_to_a_size():
    wide = Image.new("L", (40, 20), 100)

    def shaped(**keys):
        return decode(encoded(wide), ImagePolicy(**keys))

    assert shaped(size=10).shape == (1, 10, 10)
    assert (shaped(size=10) == 100).all()
    padded = shaped(size=10, resize="pad")
    assert (padded[0, :2] == 0).all()
    assert (padded[0, 4:6] == 100).all()
    assert (shaped(size=(8, 12), resize="stretch") == 100).all()
    assert shaped(size=(8, 12), resize="stretch").shape == (1, 8, 12)
    assert shaped(size=10, resize="crop").shape == (1, 10, 10)
    with pytest.raises(ValueError, match="too few to crop 30x30"):
        shaped(size=30, resize="crop")


def test_images_of_many_sizes_are_refused_with_a_size_and_taken_with_it(tmp_path):
    from espalier.data.prepare import prepare

    for name, number, label, _ in rows():
        path = tmp_path / "data" / label / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels(number, side=8 + number % 5).save(path)
    keys = {"workshop": tmp_path / "work", "split": "exact"}
    with pytest.raises(BadInput) as refusal:
        prepare(tmp_path / "data", tmp_path / "prepared", **keys)
    assert_explains(refusal.value, "`data.images.size: 10`")
    dataset = prepare(tmp_path / "data", tmp_path / "prepared", images=ImagePolicy(size=10), **keys)
    assert dataset.shape == (3, 10, 10)


def test_gray_images_among_coloured_ones_become_coloured_and_that_is_said(tmp_path):
    from espalier.data.prepare import prepare

    in_class_folders(tmp_path / "data")
    pixels(3, "L").save(tmp_path / "data" / "ant" / "003.png")
    keys = {"workshop": tmp_path / "work", "split": "exact"}
    with pytest.warns(Notice, match="gray images among coloured ones"):
        dataset = prepare(tmp_path / "data", tmp_path / "prepared", **keys)
    assert dataset.shape == (3, 8, 8)
    gray = prepare(
        tmp_path / "data", tmp_path / "gray", images=ImagePolicy(channels="gray"), **keys
    )
    assert gray.shape == (1, 8, 8)

"""Prepared data whose images of train stay encoded: the same splits and pixels as decoded ahead."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
from photos import write_photos

from espalier.data.encoded import EncodedSplit
from espalier.data.prepare import prepare
from espalier.data.prepared import open_encoded, read_dataset, read_split
from espalier.data.writing import write_encoded
from espalier.errors import BadInput
from espalier.settings.data import DataSettings
from espalier.settings.images import ImagePolicy

pytestmark = pytest.mark.filterwarnings("ignore::espalier.errors.Notice")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "data", 30)


@pytest.fixture
def both(photos, tmp_path):
    """Prepare a folder in both ways."""

    def run(folder=photos, *, skip_bad=0, **policy):
        for decode in ("ahead", "on_the_fly"):
            images = ImagePolicy(decode=decode, **policy)
            settings = DataSettings(images=images, seed=0, skip_bad=skip_bad)
            prepare(folder, tmp_path / decode, settings, workshop=tmp_path / "work")
        return tmp_path / "ahead", tmp_path / "on_the_fly"

    return run


def assert_same_pixels(ahead, on_the_fly):
    expected, found = read_split(ahead, "train"), open_encoded(on_the_fly, "train", seed=0)
    assert len(found) == len(expected.targets) > 20
    assert found.targets.tolist() == expected.targets.tolist()
    for index, pixels in enumerate(expected.inputs.numpy()):
        assert np.array_equal(found.read(index), pixels)


@pytest.mark.parametrize("resize", ["fit", "pad", "stretch"])
def test_images_are_those_that_are_decoded_ahead(both, resize):
    assert_same_pixels(*both(size=(24, 32), resize=resize))


def test_gray_images_too(both):
    assert_same_pixels(*both(size=24, channels="gray"))


def test_scans_of_one_size_too(both, digits):
    ahead, on_the_fly = both(digits)
    assert read_dataset(on_the_fly).shape == (1, 8, 8)
    assert_same_pixels(ahead, on_the_fly)


def test_validation_and_test_are_the_same_files(both):
    ahead, on_the_fly = both(size=24)
    for name in ("validation.safetensors", "test.safetensors", "manifest.parquet"):
        assert (ahead / name).read_bytes() == (on_the_fly / name).read_bytes()
    one, other = read_dataset(ahead), read_dataset(on_the_fly)
    assert (one.facts.mean, one.facts.std) == (other.facts.mean, other.facts.std)
    assert (one.shape, one.counts, one.classes) == (other.shape, other.counts, other.classes)


def test_the_files_own_bytes_are_stored(both, photos):
    import pandas as pd

    on_the_fly = both(size=24)[1]
    rows = pd.read_parquet(on_the_fly / "manifest.parquet")
    files = [photos / name for name in rows.loc[rows["split"] == "train", "file"]]
    content = (on_the_fly / "train.safetensors").read_bytes()
    assert content.endswith(b"".join(path.read_bytes() for path in files))


def test_the_description_of_data_that_are_decoded_ahead_has_no_new_key(both):
    ahead, on_the_fly = both(size=24, alpha="white")
    assert "decoding" not in json.loads((ahead / "dataset.json").read_text())
    facts = read_dataset(on_the_fly).facts
    assert (facts.decoding.size, facts.decoding.channels, facts.crop) == (24, "rgb", 0)


def test_an_image_that_is_left_out_moves_no_other(both, photos, tmp_path):
    damaged = shutil.copytree(photos, tmp_path / "damaged")
    for path in (damaged / "flower" / "00000.png", damaged / "temple" / "00002.jpg"):
        path.write_bytes(path.read_bytes()[:100])
    assert_same_pixels(*both(damaged, size=24, skip_bad=2))


def test_a_changed_file_is_named(both):
    on_the_fly = both(size=24)[1]
    path = on_the_fly / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(BadInput, match=re.escape(f"Expected {path} to have the SHA-256")):
        open_encoded(on_the_fly, "train")


def test_an_image_that_cannot_be_decoded_is_one_sentence(both, photos, tmp_path):
    decoder = read_dataset(both(size=24)[1]).decoder()
    whole = (photos / "flower" / "00002.jpg").read_bytes()
    path = tmp_path / "split.safetensors"
    write_encoded(path, [whole, whole[:200]], np.array([0, 1]))
    split = EncodedSplit(path, decoder)
    assert split.read(0).shape == (3, 24, 24)
    with pytest.raises(
        BadInput, match=r"Expected example 1 of .*split.safetensors to be readable.*"
    ):
        split.read(1)


def test_each_way_to_open_names_the_other(both):
    ahead, on_the_fly = both(size=24)
    with pytest.raises(BadInput, match=r"found encoded ones.*`open_encoded`"):
        read_split(on_the_fly, "train")
    read_split(on_the_fly, "validation")
    for folder, split in ((ahead, "train"), (on_the_fly, "test")):
        with pytest.raises(BadInput, match=r"found decoded ones: `read_split`"):
            open_encoded(folder, split)


def test_equal_data_give_equal_bytes(both):
    first, second = (hashlib.sha256() for _ in range(2))
    for digest in (first, second):
        digest.update((both(size=24)[1] / "train.safetensors").read_bytes())
    assert first.digest() == second.digest()


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"crop_scale": (0.5, 1.0)}, r"with `decode: on_the_fly`; found `decode: ahead`"),
        (
            {"decode": "on_the_fly", "crop_scale": (0.0, 1.0)},
            r"`data.images.crop_scale`.*at most 1",
        ),
        (
            {"decode": "on_the_fly", "crop_scale": (0.5, 1.5)},
            r"`data.images.crop_scale`.*at most 1",
        ),
        ({"decode": "on_the_fly", "crop_ratio": (2.0, 1.0)}, r"\[least, largest\].*\[2.0, 1.0\]"),
    ],
)
def test_crops_that_no_image_has_are_refused(policy, sentence):
    with pytest.raises(BadInput, match=sentence):
        ImagePolicy(**policy)


def test_a_shift_beside_crops_is_refused():
    with pytest.raises(BadInput, match=r"no `data.crop` with .*; found 2"):
        DataSettings(images=ImagePolicy(decode="on_the_fly"), crop=2)


def test_images_that_change_while_they_are_read_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"Expected 2 examples for split.safetensors; found 1"):
        write_encoded(tmp_path / "split.safetensors", [b"x"], np.array([0, 1]))

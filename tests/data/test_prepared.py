from pathlib import Path

import pytest

from espalier.data.prepared import data_hash, read_dataset, read_split
from espalier.errors import BadInput


@pytest.fixture
def folder(digits, prepared, tmp_path) -> Path:
    prepared(digits)
    return tmp_path / "prepared"


def test_a_split_is_mapped_so_that_only_what_is_used_is_read(folder):
    split = read_split(folder, "train")
    mapped = Path("/proc/self/maps").read_text()
    assert str(folder / "train.safetensors") in mapped
    assert len(split.targets) == len(split.inputs)


def test_a_changed_file_is_named_before_it_is_read(folder):
    path = folder / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        BadInput, match=r"train\.safetensors to have the SHA-256 .* found .*espalier prepare"
    ):
        read_split(folder, "train")
    assert len(read_split(folder, "test").targets) == 359
    path.unlink()
    with pytest.raises(BadInput, match=r"train\.safetensors .* found no file"):
        read_split(folder, "train")


def test_a_dataset_that_is_not_ours_is_refused_by_key(folder):
    path = folder / "dataset.json"
    path.write_text(path.read_text().replace('"crop": 1', '"crop": "much"'))
    with pytest.raises(BadInput, match=r"dataset\.json to be .* found at `crop`"):
        read_dataset(folder)
    path.unlink()
    with pytest.raises(BadInput, match=r"dataset\.json to exist"):
        data_hash(folder)


def test_an_unknown_split_lists_the_known(folder):
    with pytest.raises(BadInput, match=r"train, validation, test; found 'tset'"):
        read_split(folder, "tset")

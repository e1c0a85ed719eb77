import pickle
from pathlib import Path

import pytest
import torch

from espalier.data.prepared import data_hash, open_split, read_dataset, read_split
from espalier.errors import BadInput


@pytest.fixture
def folder(digits, prepared, tmp_path) -> Path:
    prepared(digits)
    return tmp_path / "prepared"


def test_streaming_gives_the_items_of_the_whole(folder):
    whole, streamed = read_split(folder, "validation"), open_split(folder, "validation")
    assert len(streamed) == len(whole.targets) == 216
    for index in (0, 1, 100, 215):
        image, label, position = streamed[index]
        assert torch.equal(image, whole.inputs[index])
        assert (label, position) == (whole.targets[index], index)
        assert label.dtype == torch.int64
    assert torch.equal(streamed[-1][0], whole.inputs[-1])
    with pytest.raises(IndexError, match=r"0\.\.215; found 216"):
        streamed[216]


def test_workers_can_share_a_streamed_split(folder):
    streamed = open_split(folder, "validation")
    streamed[0]  # open, so that pickling has something to leave behind
    again = pickle.loads(pickle.dumps(streamed))
    assert torch.equal(again[7][0], streamed[7][0])
    loader = torch.utils.data.DataLoader(streamed, batch_size=50, num_workers=2)
    images = torch.cat([images for images, _, _ in loader])
    assert torch.equal(images, read_split(folder, "validation").inputs)


@pytest.mark.parametrize("read", [read_split, open_split])
def test_a_changed_file_is_named_before_it_is_read(folder, read):
    path = folder / "train.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        BadInput, match=r"train\.safetensors to have the SHA-256 .* found .*espalier prepare"
    ):
        read(folder, "train")
    assert len(read(folder, "test").targets) == 359
    path.unlink()
    with pytest.raises(BadInput, match=r"train\.safetensors .* found no file"):
        read(folder, "train")


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

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import assert_equal_weights

from espalier.data.prepared import read_dataset, read_split
from espalier.training.batches import Chosen, Resident, Streamed, in_order, open_examples, sample

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ways(digits):
    return tuple(kind(read_split(digits, "train"), CPU) for kind in (Resident, Streamed))


def test_streamed_and_resident_examples_come_in_the_same_batches(ways, digits):
    split = read_split(digits, "train")
    groups = list(torch.randperm(len(split.targets))[:200].split(64))
    resident, streamed = (list(way.batches(groups)) for way in ways)
    assert len(ways[0]) == len(ways[1]) == len(split.targets)
    assert len(resident) == len(streamed) == len(groups)
    for one, other, group in zip(resident, streamed, groups, strict=True):
        assert torch.equal(one.index, group)
        assert torch.equal(other.index, group)
        assert torch.equal(one.inputs, split.inputs[group])
        assert torch.equal(other.inputs, split.inputs[group])
        assert torch.equal(one.targets, split.targets[group])
        assert torch.equal(other.targets, split.targets[group])


def test_chosen_examples_come_with_their_own_targets_from_either(ways, digits):
    split = read_split(digits, "train")
    index = torch.where(split.targets > 6)[0]
    own = split.targets[index] - 7
    groups = list(torch.randperm(len(index))[:100].split(32))
    for way in ways:
        chosen = Chosen(way, index, own)
        assert len(chosen) == len(chosen.targets) == len(index)
        for batch, group in zip(chosen.batches(groups), groups, strict=True):
            assert torch.equal(batch.index, group)
            assert torch.equal(batch.inputs, split.inputs[index[group]])
            assert torch.equal(batch.targets, own[group])


def test_a_stream_that_is_left_early_ends_and_begins_again(ways):
    streamed = ways[1]
    groups = in_order(100, 10)
    running = threading.active_count()
    first = next(streamed.batches(groups))
    assert threading.active_count() == running  # the thread ended with the stream
    again = next(streamed.batches(groups))
    assert torch.equal(first.inputs, again.inputs)


def test_training_from_either_ends_with_the_same_bits(ways, setting):
    resident, streamed = setting.network(), setting.network()
    for network, examples in zip((resident, streamed), ways, strict=True):
        setting.train(network, examples=examples, epochs=1)
    assert_equal_weights(streamed, resident)


def test_a_split_is_streamed_when_its_pixels_do_not_fit(digits):
    dataset = read_dataset(digits)
    pixels = dataset.counts["train"] * 64
    assert isinstance(open_examples(digits, dataset, "train", CPU, pixels), Resident)
    assert isinstance(open_examples(digits, dataset, "train", CPU, pixels - 1), Streamed)


def test_in_order_leaves_no_example_out():
    assert [group.tolist() for group in in_order(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 130))
def test_a_sample_is_of_different_examples_in_groups_of_nearly_one_size(most, count, size):
    groups = sample(most, count, size)
    drawn = torch.cat(groups).tolist()
    assert len(set(drawn)) == len(drawn) == min(most, count)
    assert set(drawn) <= set(range(count))
    lengths = [len(group) for group in groups]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= 1.5 * size + 1

"""The entropy coder takes about the entropy of independent data, and less with structure."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.coding.coder import Reader, Writer, code_natural
from espalier.coding.levels import code_levels
from espalier.coding.mixing import Predictor
from espalier.coding.packed import encode
from espalier.models import build


def entropy(symbols):
    """The empirical entropy of all symbols, in bytes."""
    _, counts = np.unique(symbols, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


def written(levels, shape):
    writer = Writer()
    code_levels(writer, levels.ravel().tolist(), shape)
    return writer.content()


def laplacian(shape, density, scale, seed=0):
    random = np.random.default_rng(seed)
    sizes = np.ceil(random.exponential(scale, shape)) * random.choice([-1, 1], shape)
    return (sizes * (random.random(shape) < density)).astype(int)


@pytest.mark.parametrize("shape", [(100, 100), (25, 20, 5, 5), (10000,)], ids=str)
@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_independent_levels_take_their_empirical_entropy_within_five_percent(shape, density):
    levels = laplacian(shape, density, 1.5)
    assert len(written(levels, shape)) < 1.05 * entropy(levels) + 24


def test_a_whole_file_takes_the_entropy_of_its_levels_and_fifty_bytes():
    network = build("espalier:mlp", classes=10, shape=(1, 20, 20), arguments={"hidden": [100]})
    levels = [
        laplacian(tuple(value.shape), 0.1, 1.5, seed)
        for seed, value in enumerate(network.parameters())
    ]
    with torch.no_grad():
        for value, level in zip(network.parameters(), levels, strict=True):
            value.copy_(torch.from_numpy(level) * 0.0625)
    assert len(encode(network)) < 1.04 * sum(map(entropy, levels)) + 50


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_and_columns_of_zeros_take_almost_no_bits(axis):
    levels = laplacian((100, 200), 0.3, 1.5)
    np.moveaxis(levels, axis, 0)[10:] = 0
    dense = np.moveaxis(levels, axis, 0)[:10]
    assert entropy(levels) > 1.4 * entropy(dense)
    assert len(written(levels, levels.shape)) < 1.2 * entropy(dense) + 40


def test_similar_neighbouring_rows_take_fewer_bits():
    row = laplacian((1, 300), 0.3, 1.5)
    levels = np.where(np.random.default_rng(1).random((60, 300)) < 0.9, row, 0)
    assert len(written(levels, levels.shape)) < 0.75 * entropy(levels)


@given(
    st.lists(st.integers(-(2**20), 2**20), max_size=24),
    st.sampled_from([(-1,), (1, -1), (-1, 1), (2, -1, 1, 2)]),
)
@settings(max_examples=60, deadline=None)
def test_any_integers_are_read_as_written(levels, shape):
    inner = -int(np.prod(shape))
    levels = levels[: len(levels) // inner * inner]
    shape = tuple(len(levels) // inner if size == -1 else size for size in shape)
    writer = Writer()
    code_levels(writer, levels, shape)
    assert code_levels(Reader(writer.content()), [], shape) == levels


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 30)), max_size=20))
@settings(max_examples=60, deadline=None)
def test_natural_and_uniform_integers_are_read_as_written(numbers):
    writer = Writer()
    for value, width in numbers:
        code_natural(writer, "n", value)
        writer.uniform(width, value % 2**width)
    reader = Reader(writer.content())
    for value, width in numbers:
        assert code_natural(reader, "n") == value
        assert reader.uniform(width) == value % 2**width


def test_a_predictor_learns_the_frequency_of_ones():
    predictor, random = Predictor(), np.random.default_rng(0)
    for bit in random.random(3000) < 0.03:
        predictor.predict("x", (0, "row"))
        predictor.learn(int(bit))
    assert predictor.predict("x", (0, "row")) == pytest.approx(0.03, abs=0.01)


def test_predictions_are_the_same_doubles_on_every_machine():
    """The format depends on these doubles: another mathematical library would not decode it."""
    predictor = Predictor()
    for step in range(200):
        probability = predictor.predict("x", (0, step % 3, step % 7))
        predictor.learn(int(step % 5 == 0))
    assert probability.hex() == "0x1.95a2ab63569b8p-3"

"""k-means in one dimension, and codebooks in networks and in training."""

import math
import re
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import assert_explains, assert_input_untouched, assert_random_numbers_untouched
from torch.nn import functional as F

from espalier.coding import Bits, share
from espalier.coding.codebooks import _cheapest_centroid, cheapest, codebook, nearest_centroid
from espalier.coding.share import round_centroids, rounded
from espalier.errors import BadInput
from espalier.models.structure import Masked, masked_weights, record, shared_weights
from espalier.training.constraints import constraints_of

NUMBERS = hnp.arrays(
    float, st.integers(2, 60), elements=st.floats(-8, 8, width=16, allow_subnormal=False)
)


@given(NUMBERS, st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_centroids_are_the_means_of_their_nearest_values(values, size):
    """The fixed point of k-means (Lloyd 1982)."""
    centroids = codebook(values, size)
    chosen = nearest_centroid(values, centroids)
    assert (np.diff(centroids) > 0).all()
    assert len(centroids) <= size
    distances = np.abs(values[:, None] - centroids)
    np.testing.assert_array_equal(distances[np.arange(len(values)), chosen], distances.min(1))
    for number, centroid in enumerate(centroids):
        members = values[chosen == number]
        assert not len(members) or centroid == pytest.approx(members.mean(), abs=1e-9)


def test_few_distinct_values_are_the_centroids():
    np.testing.assert_array_equal(codebook(np.array([3.0, -1.0, 3.0, 2.0]), 4), [-1, 2, 3])


def test_few_large_values_keep_a_centroid():
    """Han et al. 2016, section 3.2: linear initialisation covers the large weights."""
    values = np.concatenate([np.random.default_rng(0).normal(0, 0.05, 5000), [1.0]])
    assert codebook(values, 8).max() == pytest.approx(1.0)


def test_a_price_of_bits_lowers_the_entropy_for_more_distance():
    values = np.random.default_rng(0).laplace(0, 1, 4000)
    begin = codebook(values, 16)
    begin[np.abs(begin).argmin()] = 0
    entropies, distances = [], []
    for price in (0.0, 0.03, 0.3):
        chosen, centroids = cheapest(values, begin, price)
        counts = np.bincount(chosen)
        assert counts.all()
        entropies.append(-(counts * np.log2(counts / len(values))).sum())
        distances.append(((values - centroids[chosen]) ** 2).sum())
    assert entropies == sorted(entropies, reverse=True)
    assert distances == sorted(distances)
    assert entropies[2] < 0.6 * entropies[0]
    assert 0.0 in centroids


def test_each_value_gets_the_centroid_of_the_least_distance_and_price():
    """By the definition, for every pair of a value and a centroid."""
    random = np.random.default_rng(0)
    values = random.normal(0, 2, 3000)
    for size in (1, 2, 5, 30):
        centroids, prices = np.sort(random.normal(0, 2, size)), random.exponential(1, size)
        costs = (values[:, None] - centroids) ** 2 + prices
        np.testing.assert_array_equal(
            _cheapest_centroid(values, centroids, prices), costs.argmin(1)
        )


def test_a_price_takes_little_memory():
    """A large layer and many centroids: their product would be gigabytes."""
    values = np.random.default_rng(0).normal(0, 1, 10**6)
    tracemalloc.start()
    cheapest(values, np.linspace(-3, 3, 4096), 0.01, rounds=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * values.nbytes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vectors": "nope"}, "`vectors` among float32, half, shared; found 'nope'"),
        ({"price": math.nan}, "`price` of at least 0; found nan"),
        ({"price": math.inf}, "`price` of at least 0; found inf"),
        ({"bits": 4.5}, "`bits` for conv in 1..12; found 4.5"),
        ({"bits": 13}, "`bits` for conv in 1..12; found 13"),
    ],
)
def test_arguments_out_of_range_are_refused(network, arguments, words):
    with pytest.raises(BadInput, match=re.escape(words)):
        share(network, **arguments)


@pytest.mark.parametrize("bits", [1, 3, Bits(4, 2)], ids=str)
def test_every_weight_has_at_most_as_many_values_and_its_zeros_stay(network, bits):
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter[torch.rand(parameter.shape) < 0.5] = 0
    with assert_input_untouched(network), assert_random_numbers_untouched():
        shared = share(network, bits=bits)
    weights = [name for name, parameter in network.named_parameters() if parameter.ndim > 1]
    assert set(shared_weights(shared)) == set(masked_weights(shared)) == set(weights)
    former = dict(network.named_parameters())
    for name, parameter in shared.named_parameters():
        if name in weights:
            width = (
                bits if isinstance(bits, int) else bits.conv if parameter.ndim == 4 else bits.linear
            )
            assert len(parameter[parameter != 0].unique()) <= 2**width
            assert torch.equal(parameter == 0, former[name] == 0)


def test_centroids_have_ten_binary_digits(small):
    shared = share(small, bits=3)
    for parameter in shared.parameters():
        assert torch.equal(parameter, parameter.half().float())


def test_vectors_are_unchanged_rounded_or_shared(small):
    vectors = {name: value for name, value in small.named_parameters() if value.ndim == 1}
    left, half = (
        dict(share(small, vectors="float32").named_parameters()),
        dict(share(small).named_parameters()),
    )
    shared = share(small, bits=2, vectors="shared")
    for name, value in vectors.items():
        assert torch.equal(left[name], value)
        torch.testing.assert_close(half[name], value, rtol=2**-11, atol=0)
        assert len(dict(shared.named_parameters())[name].unique()) <= 5
    assert set(shared_weights(shared)) == {name for name, _ in small.named_parameters()}


@pytest.mark.parametrize("bits", [0, 13, Bits])
def test_bits_out_of_range_are_refused(small, bits):
    with pytest.raises(BadInput) as caught:
        share(small, bits=bits) if isinstance(bits, int) else Bits(8, 0)
    assert_explains(caught.value, "`bits`")


def test_a_negative_price_is_refused(small):
    with pytest.raises(BadInput) as caught:
        share(small, price=-1)
    assert_explains(caught.value, "`price`")


@given(
    hnp.arrays(
        "float32", 20, elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
    ),
    st.integers(0, 23),
)
@settings(max_examples=50, deadline=None)
def test_rounding_errs_by_at_most_half_of_the_last_digit_and_gives_no_negative_zero(values, digits):
    values = torch.from_numpy(np.where(np.abs(values) < 1e-30, -0.0, values).astype("float32"))
    short = rounded(values, digits)
    assert ((short - values).abs() <= values.abs() * 2.0 ** -(digits + 1) * (1 + 1e-6)).all()
    assert torch.equal(rounded(short, digits), short)
    assert not (short.signbit() & (short == 0)).any()


def step(network, optimizer, constraints):
    shape = (1, 16, 16)
    loss = F.cross_entropy(network(torch.randn(16, *shape)), torch.arange(16) % 10)
    optimizer.zero_grad()
    loss.backward()
    free = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    for constraint in constraints:
        constraint.before_step()
    optimizer.step()
    for constraint in constraints:
        constraint.after_step()
    return free


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_equal_elements_stay_equal_and_zeros_stay_zero_in_training(small, optimizer):
    with torch.no_grad():
        small.fc1.weight[torch.rand_like(small.fc1.weight) < 0.5] = 0
    shared = share(small, bits=2)
    before = {
        name: dict(shared.named_parameters())[name].detach().clone()
        for name in shared_weights(shared)
    }
    rule = optimizer(shared.parameters(), lr=0.01, weight_decay=0.01)
    constraints = constraints_of(shared)
    for _ in range(5):
        step(shared, rule, constraints)
    for name, former in before.items():
        now = dict(shared.named_parameters())[name].detach()
        assert not torch.equal(now, former)
        for value in former.unique():
            assert len(now[former == value].view(torch.int32).unique()) == 1
    assert torch.equal(shared.fc1.weight == 0, before["fc1.weight"] == 0)
    assert not (shared.fc1.weight.signbit() & (shared.fc1.weight == 0)).any()


def test_the_gradient_of_a_centroid_is_the_sum_over_its_members(small):
    """Han et al. 2016, eq. 3, by autograd through the codebook; its members are moved by the mean."""
    shared = share(small, bits=2).double()
    weight = shared.fc2.weight
    centroids, index = weight.detach().unique(return_inverse=True)
    images, labels = torch.randn(16, 1, 16, 16, dtype=torch.float64), torch.arange(16) % 10
    variable = centroids.clone().requires_grad_()
    loss = F.cross_entropy(
        torch.func.functional_call(shared, {"fc2.weight": variable[index]}, images), labels
    )
    (expected,) = torch.autograd.grad(loss, variable)
    F.cross_entropy(shared(images), labels).backward()
    for constraint in constraints_of(shared):
        constraint.before_step()
    for number in range(len(centroids)):
        members = weight.grad[index == number]
        assert len(members.unique()) == 1
        torch.testing.assert_close(members.mean() * len(members), expected[number])


def test_rounded_centroids_stay_equal(small):
    shared = share(small, bits=2)
    rule, constraints = torch.optim.SGD(shared.parameters(), lr=0.1), constraints_of(shared)
    step(shared, rule, constraints)
    kinds = len(shared.fc1.weight.unique())
    round_centroids(shared)
    assert torch.equal(shared.fc1.weight, shared.fc1.weight.half().float())
    assert len(shared.fc1.weight.unique()) <= kinds


def test_sharing_again_records_present_zeros(small):
    record(small, Masked(("fc1.weight",)))
    shared = share(small)
    assert masked_weights(shared) == ()

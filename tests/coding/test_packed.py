import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import NETWORKS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from properties import (
    assert_equal_outputs,
    assert_equal_weights,
    assert_explains,
    assert_input_untouched,
)
from selection import mostly_slow
from torch import nn

from espalier.coding import pack, share, unpack
from espalier.coding.packed import decode, encode
from espalier.errors import BadInput, Notice
from espalier.models import architecture_of, build, load, save
from espalier.models.structure import Masked, edits_of, masked_weights, record, remove
from espalier.pruning import prune
from espalier.settings import limits


def bits(network):
    return {
        name: value.view(torch.int32) if value.dtype == torch.float32 else value
        for name, value in network.state_dict().items()
    }


def assert_same_bits(one, other):
    """Negative zeros and NaN included."""
    first, second = bits(one), bits(other)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_unpacked_network_equals_the_packed_one_bit_for_bit(network, tmp_path):
    with assert_input_untouched(network):
        size = pack(network, tmp_path / "x")
    again = unpack(tmp_path / "x")
    assert (tmp_path / "x").stat().st_size == size
    assert not again.training
    assert_same_bits(again, network)
    assert architecture_of(again) == architecture_of(network)


def test_the_preprocessing_of_an_imported_network_is_packed_too(tmp_path):
    network = build("espalier:lenet5", classes=10, shape=(1, 28, 28))
    size = pack(network, tmp_path / "x")
    theirs = {"mean": [0.1], "std": [0.2]}
    replace(architecture_of(network), preprocessing=theirs).attach(network)
    assert size < pack(network, tmp_path / "x") < size + 60
    assert architecture_of(unpack(tmp_path / "x")).preprocessing == theirs


@pytest.mark.parametrize(
    "factory",
    mostly_slow(["espalier:lenet5", "espalier:mobilenet", "espalier:resnet"], "espalier:resnet"),
)
def test_a_pruned_and_shared_network_is_unpacked_bit_for_bit(factory, tmp_path):
    case = next(case for case in NETWORKS if case.factory == factory)
    torch.manual_seed(3)
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", Notice
        )  # that such narrow layers miss the target is no matter here
        smaller = prune(network, torch.randn(2, *case.shape), keep_parameters=0.15, align=1)
    shared = share(smaller, bits=2)
    pack(smaller, tmp_path / "smaller")
    pack(shared, tmp_path / "shared")
    assert_same_bits(unpack(tmp_path / "smaller"), smaller)
    again = unpack(tmp_path / "shared")
    assert_same_bits(again, shared)
    assert edits_of(again) == edits_of(shared)
    assert_equal_outputs(again, shared, torch.randn(4, *case.shape))
    assert (tmp_path / "shared").stat().st_size < (tmp_path / "smaller").stat().st_size / 6


def test_an_unpacked_network_is_saved_and_loaded(small, tmp_path):
    shared = share(small, bits=2)
    save(decode(encode(shared), "it"), tmp_path)
    assert_equal_weights(load(tmp_path), shared)
    assert edits_of(load(tmp_path)) == edits_of(shared)


def test_removed_layers_and_added_biases_are_packed():
    torch.manual_seed(0)
    network = build(
        "espalier:resnet", classes=10, shape=(1, 16, 16), arguments={"depth": 8, "width": 8}
    )
    convolution = next(
        name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)
    )
    network.get_submodule(convolution).bias = nn.Parameter(torch.randn(8))
    block = [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)][
        -1
    ]
    remove(network, [block])
    again = decode(encode(network), "it")
    assert_same_bits(again, network)
    assert isinstance(again.get_submodule(block), nn.Identity)
    assert again.get_submodule(convolution).bias is not None


def test_tied_weights_are_packed_once(tmp_path, monkeypatch):
    (tmp_path / "knotted.py").write_text(
        "from torch import nn\n"
        "def net(*, classes, shape):\n"
        "    network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))\n"
        "    network[1].weight = network[0].weight\n"
        "    return network\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = build("knotted:net", classes=64, shape=(1, 8, 8), trusted=["knotted"])
    content = encode(network)
    assert len(content) < 1.2 * 4 * 64 * 64
    again = decode(content, "it", trusted=["knotted"])
    assert again[0].weight is again[1].weight
    assert_same_bits(again, network)
    with pytest.raises(BadInput) as caught:
        decode(content, "it")
    assert_explains(caught.value, "knotted", "`trusted`")


ANY = st.integers(
    0, 2**32 - 1
)  # the bits of a float32: also infinities, what is no number, and what is hardly one
FEW = st.lists(ANY.filter(lambda bits: bits >> 23 & 255 < 255), min_size=1, max_size=5)
STEPPED = st.integers(-40, 40).map(lambda level: int(np.float32(level * 0.0390625).view(np.uint32)))


@st.composite
def weights(draw):
    """Any floats, few distinct ones (negative zeros among them), multiples of a step, sparse ones."""
    few = draw(FEW)
    kind = draw(
        st.sampled_from(
            [ANY, st.sampled_from([*few, 2**31]), STEPPED, st.sampled_from([0, 0, 0, *few])]
        )
    )
    return torch.from_numpy(draw(hnp.arrays("uint32", (10, 12), elements=kind)).view("float32"))


@given(weights(), weights())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_values_are_unpacked_bit_for_bit(first, second):
    network = build("espalier:mlp", classes=10, shape=(1, 4, 3), arguments={"hidden": [10]})
    network[1].weight.data = first.clone()
    network[1].bias.data = second[:, 0].clone()
    assert_same_bits(decode(encode(network), "it"), network)


@pytest.mark.parametrize("flushed", [True, False])
def test_denormals_are_unpacked_bit_for_bit_where_the_processor_flushes_them(flushed):
    network = build("espalier:mlp", classes=10, shape=(1, 4, 3), arguments={"hidden": [10]})
    bits = torch.tensor([0, 1, 2, 2**31 + 1, 2**30] * 24, dtype=torch.int64).to(torch.int32)
    bits[3::5] = -(2**31) + 1
    network[1].weight.data = bits.view(torch.float32).view(10, 12)
    former = torch.tensor([1e-42]).mul(1).item() == 0
    torch.set_flush_denormal(flushed)
    try:
        again = decode(encode(network), "it")
    finally:
        torch.set_flush_denormal(former)
    assert torch.equal(again[1].weight.view(torch.int32).flatten(), bits)


@pytest.mark.parametrize("place", [0, 3, 5, 20, 200, -5, -1])
def test_a_changed_byte_is_refused(small, tmp_path, place):
    pack(share(small), tmp_path / "x")
    content = bytearray((tmp_path / "x").read_bytes())
    content[place] ^= 4
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        unpack(tmp_path / "x")
    assert_explains(caught.value, str(tmp_path / "x"))


@pytest.mark.parametrize("length", [0, 1, 4, 8, 9, 60, -1])
def test_a_truncated_file_is_refused(small, tmp_path, length):
    pack(share(small), tmp_path / "x")
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:length])
    with pytest.raises(BadInput) as caught:
        unpack(tmp_path / "x")
    assert_explains(caught.value, str(tmp_path / "x"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput) as caught:
        unpack(tmp_path / "nothing")
    assert_explains(caught.value, str(tmp_path / "nothing"))


def test_masked_floats_take_the_bits_of_mask_and_values():
    """A mask of 5 % costs 0.29 bits per number, the floats under it 32 bits each."""
    torch.manual_seed(0)
    network = build("espalier:mlp", classes=10, shape=(1, 20, 20), arguments={"hidden": [200]})
    with torch.no_grad():
        network[1].weight.mul_(torch.rand(200, 400) < 0.05).add_(0.0)
    record(network, Masked(("1.weight",)))
    used = int((network[1].weight != 0).sum())
    rest = sum(value.numel() for name, value in network.named_parameters() if name != "1.weight")
    content = encode(network)
    assert len(content) < 4 * (used + rest) + 1.05 * 0.287 * 80_000 / 8 + 60
    assert masked_weights(decode(content, "it")) == ("1.weight",)


def test_a_few_bytes_hold_no_more_bits_than_are_read_in_a_short_time(monkeypatch):
    """Zeros take next to no bytes and as long to read as others, so the writer pads their file."""
    empty = build("espalier:mlp", classes=10, shape=(1, 8, 8), arguments={"hidden": [200]})
    with torch.no_grad():
        for value in empty.parameters():
            value.zero_()
    monkeypatch.setattr(limits, "CODED_BITS", 2**30)
    endless = encode(empty)
    monkeypatch.setattr(limits, "CODED_BITS", 2**10)
    with pytest.raises(BadInput) as caught:
        decode(endless, "a.espalier")
    assert_explains(caught.value, "a.espalier", "more coded bits")
    padded = encode(empty)
    assert len(endless) < len(padded) < len(endless) + 100
    assert_same_bits(decode(padded, "a.espalier"), empty)

"""Prunable attention has the outputs and the weights of the attention of torch and torchvision."""

import copy
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from espalier.models import build
from espalier.models.attention import (
    Attention,
    attention_heads,
    set_attention_heads,
    with_prunable_attention,
)

WIDTH, HEADS = 12, 3
CAUSAL = torch.ones(5, 5).triu(1).bool()
PADDED = torch.tensor([[False] * 3 + [True] * 2] * 2)


def ours(layer: nn.Module) -> nn.Module:
    """The module that replaces a layer, with its weights."""
    own = with_prunable_attention(nn.Sequential(layer))[0]
    assert isinstance(own, Attention)
    assert [(name, id(value)) for name, value in own.named_parameters()] == [
        (name, id(value)) for name, value in layer.named_parameters()
    ]
    assert list(own.state_dict()) == list(layer.state_dict())
    return own


def assert_alike(one: Tensor, other: Tensor) -> None:
    assert one.shape == other.shape
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def randomised(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer.eval()


@pytest.mark.parametrize(("batch_first", "bias"), list(product([True, False], [True, False])))
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"attn_mask": CAUSAL},
        {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False},
        {"attn_mask": torch.randn(2 * HEADS, 5, 5, generator=torch.Generator().manual_seed(0))},
        {"key_padding_mask": PADDED},
        {"key_padding_mask": PADDED, "attn_mask": CAUSAL},
    ],
    ids=lambda asked: "+".join(asked) or "plain",
)
@torch.no_grad()
def test_outputs_equal_those_of_torch(batch_first, bias, asked):
    layer = randomised(nn.MultiheadAttention(WIDTH, HEADS, bias=bias, batch_first=batch_first))
    x = torch.randn(2, 5, WIDTH) if batch_first else torch.randn(5, 2, WIDTH)
    (out, weights), (wanted, wanted_weights) = (
        ours(layer)(x, x, x, **asked),
        layer(x, x, x, **asked),
    )
    assert_alike(out, wanted)
    assert (weights is None) == (wanted_weights is None)
    if weights is not None:
        assert_alike(weights, wanted_weights)


@torch.no_grad()
def test_cross_attention_equals_that_of_torch():
    layer = randomised(nn.MultiheadAttention(WIDTH, HEADS))
    query, key, value = torch.randn(4, 2, WIDTH), torch.randn(6, 2, WIDTH), torch.randn(6, 2, WIDTH)
    for one, other in zip(ours(layer)(query, key, value), layer(query, key, value), strict=True):
        assert_alike(one, other)
    alone = query[:, 0], key[:, 0], value[:, 0]
    for one, other in zip(ours(layer)(*alone), layer(*alone), strict=True):
        assert_alike(one, other)


@pytest.mark.parametrize("kind", [ShiftedWindowAttention, ShiftedWindowAttentionV2])
@pytest.mark.parametrize("shift", [[0, 0], [2, 2], [0, 2], [1, 0]])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (4, 4), (3, 9)])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_outputs_equal_those_of_swin_for_any_shift_and_image_size(kind, shift, size, bias):
    """In double precision, because sums in another order differ by more than 1e-6 in single precision now and then."""
    layer = randomised(kind(WIDTH, [4, 4], shift, HEADS, qkv_bias=bias)).double()
    x = torch.randn(2, *size, WIDTH, dtype=torch.float64)
    assert_alike(ours(layer)(x), layer(x))


@torch.no_grad()
def test_outputs_equal_those_of_maxvit():
    layer = randomised(RelativePositionalMultiHeadAttention(WIDTH, WIDTH // HEADS, 16))
    x = torch.randn(2, 3, 16, WIDTH)
    assert_alike(ours(layer)(x), layer(x))


def test_dropout_has_the_same_rate_in_training():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.5, batch_first=True).train()
    own, x = ours(layer), torch.randn(1, 400, WIDTH)
    assert own.training
    _, weights = own(x, x, x, average_attn_weights=False)
    assert 0.49 < (weights == 0).float().mean() < 0.51


@torch.no_grad()
def test_encoder_layers_of_torch_call_the_prunable_attention():
    """They have a fast path in evaluation, which hard-codes the width of the heads."""
    network = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, 4, 20, batch_first=True), 2
    ).eval()
    own, x = with_prunable_attention(network), torch.randn(2, 5, WIDTH)
    asked = []
    own.layers[0].self_attn.register_forward_hook(lambda *_: asked.append(True))
    assert_alike(own(x), network(x))
    assert asked


def test_attention_with_other_key_widths_or_extra_keys_is_not_replaced():
    for more in ({"kdim": 7}, {"add_bias_kv": True}, {"add_zero_attn": True}):
        network = nn.Sequential(nn.MultiheadAttention(WIDTH, HEADS, **more))
        assert with_prunable_attention(network) is network


def test_the_original_network_keeps_its_attention():
    network = nn.Sequential(nn.MultiheadAttention(WIDTH, HEADS))
    before = copy.deepcopy(network)
    own = with_prunable_attention(network)
    assert repr(network) == repr(before)
    assert own[0].in_proj_weight is network[0].in_proj_weight
    assert (attention_heads(network), attention_heads(own)) == ({}, {"0": HEADS})


def test_the_number_of_heads_is_set_where_a_layer_declares_it():
    layer = nn.Linear(3, 3)
    layer.num_heads = 4
    network = nn.Sequential(layer, nn.Linear(3, 3))
    assert attention_heads(network) == {"0": 4}
    set_attention_heads(network, {"0": 3})
    assert layer.num_heads == 3


@pytest.mark.parametrize(("name", "side", "heads"), [("vit_b_16", 32, 12), ("swin_t", 32, 3)])
def test_transformers_of_torchvision_are_built_with_prunable_attention(name, side, heads):
    network = build(f"torchvision:{name}", classes=5, shape=(3, side, side))
    found = [layer for layer in network.modules() if isinstance(layer, Attention)]
    assert found[0].num_heads == heads
    assert len(found) == 12

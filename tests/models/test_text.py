"""Networks on tokens: deployed, pruned with their embeddings, and quantized."""

import numpy as np
import pytest
import torch
from tiny_networks import silenced
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.export.onnx import Names, export
from espalier.inputs.text import Tokens
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import load, save
from espalier.models.build import build
from espalier.pruning import prune
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.scores import SCORES
from espalier.pruning.surgery import cut
from espalier.quantization import quantize, quantize_dynamically
from espalier.runtimes import DEFAULT

WORDS, LENGTH = 900, 20
NAMES = Names("text", "logits")


@pytest.fixture
def tokens():
    found = torch.randint(1, WORDS, (64, LENGTH), generator=torch.Generator().manual_seed(0))
    found[::2, 12:] = 0
    return found


@pytest.fixture(params=["text_cnn", "text_lstm", "text_encoder"])
def network(request):
    torch.manual_seed(0)
    arguments = {"vocabulary": WORDS}
    factory = f"espalier:{request.param}"
    return build(factory, classes=6, shape=(LENGTH,), arguments=arguments).eval()


def test_the_file_takes_tokens_and_agrees(network, tokens, tmp_path):
    difference = export(network, tmp_path / "m.onnx", tokens.int(), Tokens(), names=NAMES)
    assert difference < 1e-4
    assert count_macs(network, tokens) > 1e5


def test_integers_hold_embeddings_and_recurrent_layers_too(network, tokens, tmp_path):
    """Embeddings are most of these files: in floating point they alone would be 230 kB."""
    source = tmp_path / "m.onnx"
    export(network, source, tokens.int(), Tokens(), names=NAMES)
    before = DEFAULT.open(source).outputs(tokens.int().numpy())
    recurrent = type(network).__name__ == "TextLSTM"
    if recurrent:
        quantize_dynamically(source, tmp_path / "q.onnx")
    else:
        quantize(source, tmp_path / "q.onnx", tokens.int().numpy())
    assert (tmp_path / "q.onnx").stat().st_size < 0.35 * source.stat().st_size
    after = DEFAULT.open(tmp_path / "q.onnx").outputs(tokens.int().numpy())
    assert np.abs(before - after).max() < 0.12 * np.abs(before).max()


def test_a_cut_network_keeps_its_vocabulary_and_is_loaded_again(tokens, tmp_path):
    arguments = {"vocabulary": WORDS}
    network = build("espalier:text_encoder", classes=6, shape=(LENGTH,), arguments=arguments)
    smaller = prune(network.eval(), tokens, keep_parameters=0.5, align=4)
    assert count_parameters(smaller) <= 0.5 * count_parameters(network)
    rows, width = smaller.embedding.weight.shape
    assert rows == WORDS
    assert width < network.embedding.weight.shape[1]  # columns are removed with the residual
    save(smaller, tmp_path)
    assert torch.equal(load(tmp_path)(tokens), smaller(tokens))


@pytest.fixture(params=["text_cnn", "text_lstm"])
def without_norms(request):
    """A network in which nothing mixes channels, so that cuts can be compared in value."""
    torch.manual_seed(0)
    stacked = {"layers": 2, "hidden": 24} if request.param == "text_lstm" else {}
    arguments = {"vocabulary": WORDS, "width": 32, **stacked}
    factory = f"espalier:{request.param}"
    return build(factory, classes=6, shape=(LENGTH,), arguments=arguments).eval()


def losses_of(tokens):
    def losses(network):
        for part in torch.arange(32).split(8):
            yield F.cross_entropy(network(tokens[part]), part % 6)

    return losses


@torch.no_grad()
def test_a_cut_computes_the_same_as_layers_that_do_not_read_the_removed_units(
    without_norms, tokens
):
    groups = find_dependency_groups(without_norms, tokens)
    kept = np.random.default_rng(0).random(groups.count) < 0.5
    smaller = cut(without_norms, groups, kept)
    unread = silenced(without_norms, groups, kept, rows=False)
    assert smaller.embedding.embedding_dim < 32
    assert smaller.embedding.padding_idx == 0
    assert not torch.allclose(unread(tokens), without_norms(tokens), atol=1e-3)
    torch.testing.assert_close(smaller(tokens), unread(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kept", ["embedding", "lstm"])
def test_layers_in_keep_keep_their_width(kept, tokens):
    arguments = {"vocabulary": WORDS, "width": 32, "hidden": 32}
    factory = "espalier:text_lstm"
    network = build(factory, classes=6, shape=(LENGTH,), arguments=arguments).eval()
    smaller = prune(network, tokens, keep_macs=0.75, align=4, keep=(kept,))
    widths = {"embedding": smaller.embedding.embedding_dim, "lstm": smaller.lstm.hidden_size}
    other = ({"embedding", "lstm"} - {kept}).pop()
    assert widths[kept] == 32 > widths[other]


@pytest.mark.parametrize("score", [name for name in SCORES if name != "norm_scale"])
def test_every_score_cuts_recurrent_layers_and_embeddings_to_half(without_norms, tokens, score):
    target = {"below": 1.0} if score == "threshold" else {"keep_macs": 0.5, "align": 4}
    smaller = prune(without_norms, tokens, score=score, losses=losses_of(tokens), **target)
    assert count_macs(smaller, tokens) <= 0.5 * count_macs(without_norms, tokens)


def test_a_cut_recurrent_network_trains_is_loaded_deployed_and_quantized(tokens, tmp_path):
    torch.manual_seed(0)
    arguments = {"vocabulary": WORDS}
    factory = "espalier:text_lstm"
    network = build(factory, classes=6, shape=(LENGTH,), arguments=arguments).eval()
    smaller = prune(network, tokens, keep_macs=0.5, align=8).train()
    assert smaller.lstm.hidden_size < network.lstm.hidden_size
    optimizer = torch.optim.Adam(smaller.parameters(), 0.01)
    trained = [float(_step(smaller, optimizer, tokens)) for _ in range(12)]
    assert trained[-1] < 0.7 * trained[0]
    save(smaller.eval(), tmp_path)
    again = load(tmp_path)
    assert torch.equal(again(tokens), smaller(tokens))
    source, quantized = tmp_path / "m.onnx", tmp_path / "q.onnx"
    assert export(again, source, tokens.int(), Tokens(), names=NAMES) < 1e-4
    quantize_dynamically(source, quantized)
    assert quantized.stat().st_size < 0.4 * source.stat().st_size
    before, after = (DEFAULT.open(one).outputs(tokens.int().numpy()) for one in (source, quantized))
    assert np.abs(before - after).max() < 0.12 * np.abs(before).max()


def _step(network, optimizer, tokens):
    loss = F.cross_entropy(network(tokens), torch.arange(len(tokens)) % 6)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def test_columns_of_a_quantized_embedding_of_convolutions_are_cut(tokens, tmp_path):
    """Most of the file is the embedding: it shrinks with the network, in integers too."""
    arguments = {"vocabulary": WORDS}
    network = build("espalier:text_cnn", classes=6, shape=(LENGTH,), arguments=arguments).eval()
    smaller = prune(network, tokens, keep_parameters=0.5, align=4)
    assert smaller.embedding.weight.shape[1] < network.embedding.weight.shape[1]
    save(smaller, tmp_path)
    assert torch.equal(load(tmp_path)(tokens), smaller(tokens))
    source, quantized = tmp_path / "m.onnx", tmp_path / "q.onnx"
    export(smaller, source, tokens.int(), Tokens(), names=NAMES)
    quantize(source, quantized, tokens.int().numpy())
    assert quantized.stat().st_size < 0.35 * source.stat().st_size
    before, after = (DEFAULT.open(one).outputs(tokens.int().numpy()) for one in (source, quantized))
    assert np.abs(before - after).max() < 0.12 * np.abs(before).max()


def test_padding_changes_nothing_in_an_encoder(tokens):
    torch.manual_seed(1)
    arguments = {"vocabulary": WORDS}
    factory = "espalier:text_encoder"
    network = build(factory, classes=6, shape=(LENGTH,), arguments=arguments).eval()
    short = tokens[:1].clone()
    short[:, 8:] = 0
    outputs = network(short)
    network.embedding.weight.data[0] = 7.0  # another embedding of padding
    assert torch.allclose(network(short), outputs, atol=1e-5)


def test_a_text_of_padding_alone_has_finite_outputs(network):
    assert network(torch.zeros(2, LENGTH, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize(
    ("factory", "arguments", "words"),
    [
        ("text_cnn", {"filters": 0}, "`filters`"),
        ("text_encoder", {"width": 30, "heads": 4}, "`heads`"),
        ("text_lstm", {"layers": 0}, "`layers`"),
    ],
)
def test_sizes_that_cannot_be_are_refused(factory, arguments, words):
    given = {"vocabulary": WORDS, **arguments}
    with pytest.raises(BadInput, match=words):
        build(f"espalier:{factory}", classes=6, shape=(LENGTH,), arguments=given)


@pytest.mark.parametrize("factory", ["text_cnn", "text_lstm", "text_encoder"])
def test_words_beyond_a_small_vocabulary_are_unknown(factory, tokens):
    torch.manual_seed(0)
    arguments = {"vocabulary": 100}
    network = build(f"espalier:{factory}", classes=6, shape=(LENGTH,), arguments=arguments).eval()
    known = torch.where(tokens < 100, tokens, 1)
    assert torch.equal(network(tokens), network(known))
    assert network.embedding.num_embeddings == 100

"""Networks on tokens: deployed, pruned with their embeddings, and quantized."""

import numpy as np
import pytest
import torch

from espalier.errors import BadInput
from espalier.export.onnx import Names, export
from espalier.inputs.text import Tokens
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import load, save
from espalier.models.build import build
from espalier.pruning import prune
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


def test_convolutions_over_words_are_cut(tokens):
    arguments = {"vocabulary": WORDS}
    network = build("espalier:text_cnn", classes=6, shape=(LENGTH,), arguments=arguments).eval()
    smaller = prune(network, tokens, keep_macs=0.5, align=4)
    assert count_macs(smaller, tokens) <= 0.5 * count_macs(network, tokens)


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

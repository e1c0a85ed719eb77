"""Raw strings as the input of a deployed file: the same tokens and outputs as with the tokenizer."""

import sys

import numpy as np
import onnx
import pytest
import torch
from examples_of_kinds import sentences
from properties import assert_explains

from espalier import files
from espalier.commands import strings
from espalier.errors import BadInput
from espalier.export.onnx import Names, export
from espalier.inputs.text import Tokens
from espalier.inputs.text.strings import with_strings
from espalier.inputs.text.tokens import Tokenizer, padded
from espalier.models import save
from espalier.models.build import build
from espalier.quantization import quantize, quantize_dynamically
from espalier.runtimes import DEFAULT
from espalier.settings.texts import TextPolicy

LENGTH = 9
PAGES = [text for text, _ in sentences()]
TRAIN, TEST = PAGES[::2], PAGES[1::2]
HARD = [
    "",
    "   ",
    "\t\n\r\x0b\x0c",
    "word",
    "an UNKNOWN wörd, ÄÖÜ: İstanbul ΣΑΣ ﬁ Ⅳ x² don't!",
    "non\u00a0breaking\u2003and\u3000wide spaces \x1c\x85\u2028\u200b",
    "[PAD] [?] x[PAD]y",
    "漢字かな 한국어 \U0001f600\U0001f1e9 a\u0301",
    "the model " * 200,
    "nul\x00in it",
]


def learned(**settings):
    return Tokenizer.learn(TRAIN, TextPolicy(vocabulary=300, **settings))


def deployed(tokenizer, path, factory="text_cnn"):
    torch.manual_seed(0)
    arguments = {"vocabulary": tokenizer.size, "width": 16}
    network = build(f"espalier:{factory}", classes=3, shape=(LENGTH,), arguments=arguments).eval()
    tokens = torch.from_numpy(padded(tokenizer.numbers(TEST), LENGTH))
    export(network, path, tokens, Tokens(), names=Names("text", "logits"))
    return network, tokens.numpy()


def outputs_of_both(path, tokenizer, texts):
    model = onnx.load(path)
    content = with_strings(model, tokenizer.content).SerializeToString()
    tokens = padded(tokenizer.numbers(texts), LENGTH)
    return DEFAULT.open(path).outputs(tokens), DEFAULT.open(content).outputs(
        np.array(texts, object)
    )


def as_float(source, target, tokens):
    target.write_bytes(source.read_bytes())


def in_integers(source, target, tokens):
    quantize(source, target, tokens)


def in_dynamic_integers(source, target, tokens):
    quantize_dynamically(source, target)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("form", [as_float, in_integers, in_dynamic_integers])
def test_strings_give_the_outputs_of_their_tokens_for_every_text_of_the_test_set(
    form, lowercase, tmp_path
):
    tokenizer = learned(tokens="ascii_words", lowercase=lowercase)
    _, tokens = deployed(tokenizer, tmp_path / "m.onnx", "text_lstm")
    form(tmp_path / "m.onnx", tmp_path / "f.onnx", tokens)
    expected, found = outputs_of_both(tmp_path / "f.onnx", tokenizer, [*TEST, *HARD])
    assert len(np.unique(expected.round(6), axis=0)) > len(TEST) // 2  # texts differ
    assert np.array_equal(expected, found)


def test_texts_without_a_word_alone_are_unknown_words(tmp_path):
    tokenizer = learned(tokens="ascii_words")
    deployed(tokenizer, tmp_path / "m.onnx")
    expected, found = outputs_of_both(tmp_path / "m.onnx", tokenizer, ["", "  "])
    assert np.array_equal(expected, found)
    unknown = DEFAULT.open(tmp_path / "m.onnx").outputs(padded([[1], [1]], LENGTH))
    assert np.array_equal(found, unknown)


def test_every_character_of_unicode_divides_and_lowers_the_same(tmp_path):
    """Between letters and alone: 40,000 characters; each is a word of the vocabulary."""
    tokenizer = learned(tokens="ascii_words")
    codes = {*range(1, 13000), *range(13000, sys.maxunicode + 1, 41)} - {*range(0xD800, 0xE000)}
    characters = [chr(one) for one in sorted(codes)]
    words = ["[PAD]", "[?]", *characters]
    tokenizer.content["model"]["vocab"] = {word: number for number, word in enumerate(words)}
    starts = range(0, len(characters), 50)
    texts = [
        "".join(f"a{one}B {one} " for one in characters[start : start + 50]) for start in starts
    ]
    content = with_strings(_identity(), tokenizer.content).SerializeToString()
    expected = padded(tokenizer.numbers(texts), 400)
    found = DEFAULT.open(content).outputs(np.array(texts, object))
    assert len(np.unique(expected)) > 30_000
    assert np.array_equal(expected, found)


def _identity():
    """A file whose outputs are its tokens."""
    shape = ["batch", 400]
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT32, shape)
        for name in ("text", "tokens")
    ]
    node = onnx.helper.make_node("Identity", ["text"], ["tokens"])
    graph = onnx.helper.make_graph([node], "identity", infos[:1], infos[1:])
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


@pytest.mark.parametrize("tokens", ["words", "subwords"])
def test_other_tokenizers_are_refused_in_a_sentence(tokens, tmp_path):
    tokenizer = learned(tokens=tokens)
    deployed(tokenizer, tmp_path / "m.onnx")
    with pytest.raises(BadInput) as refusal:
        with_strings(onnx.load(tmp_path / "m.onnx"), tokenizer.content)
    assert_explains(refusal.value, "ascii_words", "tokenizer.json")


def test_the_command_writes_the_file_of_a_model_folder(tmp_path, capsys):
    tokenizer = learned(tokens="ascii_words")
    folder = tmp_path / "models" / "student"
    network, tokens = deployed(tokenizer, tmp_path / "m.onnx")
    save(network, folder)
    files.write(folder / "model.onnx", (tmp_path / "m.onnx").read_bytes())
    files.seal(folder)
    with pytest.raises(BadInput) as refusal:
        strings.run(tmp_path, "student", None)
    assert_explains(refusal.value, "on texts", "tokenizer.json")
    files.write_json(folder / "tokenizer.json", tokenizer.content)
    files.seal(folder)
    strings.run(tmp_path, "student", tmp_path / "out.onnx")
    assert "strings" in capsys.readouterr().out
    found = DEFAULT.open(tmp_path / "out.onnx").outputs(np.array(TEST, object))
    assert np.array_equal(found, DEFAULT.open(folder / "model.onnx").outputs(tokens))

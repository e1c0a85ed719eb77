"""Tokens of texts: the file of a model gives the tokens of its training, used as the documentation says."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from examples_of_kinds import sentences

from espalier import files
from espalier.inputs.text import TextInput
from espalier.inputs.text.tokens import Tokenizer, padded
from espalier.paths import TOKENIZER
from espalier.settings.texts import TextPolicy

DOCS = Path(__file__).resolve().parents[2] / "docs"
LENGTH = 9
ORDINARY = [text for text, _ in sentences()]
ODD = [
    "",
    " \t\n",
    "\u200b",
    "[PAD]",
    "model [PAD] model [?] model",
    "x[PAD]y [pad] [CLS] [UNK] <unk> </s>",
    "nothing-known-of-it \U0001f600 漢字 ﬁ x² İstanbul",
    "the model " * 200,
    "nul\x00in it",
]


def as_documented(folder, texts):
    """The tokens of texts, by the lines of docs/registry.md."""
    lines = re.search(
        r"```python\n(.*?tokenizers.*?)```", (DOCS / "registry.md").read_text(), re.DOTALL
    )
    code = textwrap.dedent(lines.group(1)).replace("fetched/", f"{folder}/")
    names = {"texts": texts}
    exec(code, names)
    return names["tokens"]


@pytest.mark.parametrize("form", ["words", "ascii_words", "subwords"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_the_file_of_a_model_gives_the_tokens_of_its_training(form, lowercase, tmp_path):
    policy = TextPolicy(tokens=form, vocabulary=300, length=LENGTH, lowercase=lowercase)
    texts = [*ORDINARY, *ODD]
    stored, facts = TextInput().store(texts, np.arange(len(texts)), policy=policy)
    content = TextInput().model_files((LENGTH,), facts)[TOKENIZER]
    files.write_json(tmp_path / TOKENIZER, content)
    tokens = as_documented(tmp_path, texts)
    assert tokens.dtype == stored.dtype
    assert np.array_equal(tokens, stored)
    assert np.array_equal(padded(Tokenizer(content).numbers(texts), LENGTH), stored)
    assert stored[-len(ODD)].tolist() == [1, *[0] * (LENGTH - 1)]  # no word is one unknown word


def test_a_text_that_names_the_padding_has_none_before_its_end():
    tokenizer = Tokenizer.learn(ORDINARY, TextPolicy(vocabulary=300))
    (numbers,) = tokenizer.numbers(["the [PAD] model [?] is"])
    assert 0 not in numbers
    assert len(numbers) == 9


@pytest.mark.parametrize("form", ["words", "subwords"])
def test_files_of_older_models_give_the_same_tokens(form):
    """They have the added tokens, and no key of cutting and padding, or null there."""
    tokenizer = Tokenizer.learn(ORDINARY, TextPolicy(tokens=form, vocabulary=300))
    assert tokenizer.content["added_tokens"]
    older = {
        key: value
        for key, value in tokenizer.content.items()
        if key not in ("truncation", "padding")
    }
    expected = tokenizer.numbers([*ORDINARY, *ODD])
    assert Tokenizer(older).numbers([*ORDINARY, *ODD]) == expected
    assert Tokenizer(older).size == tokenizer.size

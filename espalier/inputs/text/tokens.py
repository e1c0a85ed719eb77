"""Tokenizers, which the library `tokenizers` learns and applies."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.optional import optional_library
from espalier.settings.texts import TextPolicy

PADDING, UNKNOWN = 0, 1
_SPECIAL = ["[PAD]", "[?]"]  # tokens 0 and 1
ASCII_WORD = r"[!-/:-@\[-`{-~]|[^ \t\n\r\v\f!-/:-@\[-`{-~]+"
"""A punctuation mark of ASCII, or characters up to the next mark or space of ASCII."""

_PLAIN: dict[str, Any] = {"truncation": None, "padding": None, "added_tokens": []}
"""Settings with which a text has the tokens of its words alone.

Added tokens are found in texts: `[PAD]` would be padding in mid-text, where it is three words.
"""

_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RARE = 2  # words that are seen less often in train are unknown


class Tokenizer:
    """A tokenizer in the form of the library `tokenizers`.

    Attributes:
        content: content of `tokenizer.json`.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    @classmethod
    def learn(cls, texts: Sequence[str], policy: TextPolicy) -> "Tokenizer":
        """Learn the tokens of some texts.

        Raises:
            BadInput: if the library is not installed.
        """
        tokenizers = _library()
        models, trainers = tokenizers.models, tokenizers.trainers
        common = {
            "vocab_size": policy.vocabulary,
            "special_tokens": _SPECIAL,
            "show_progress": False,
        }
        if policy.tokens != "subwords":
            learned = tokenizers.Tokenizer(models.WordLevel(unk_token=_SPECIAL[UNKNOWN]))
            trainer = trainers.WordLevelTrainer(min_frequency=_RARE, **common)
        else:
            learned = tokenizers.Tokenizer(models.BPE(unk_token=_SPECIAL[UNKNOWN]))
            trainer = trainers.BpeTrainer(min_frequency=_RARE, **common)
        divide = _divide_as_files_can if policy.tokens == "ascii_words" else _divide
        divide(learned, tokenizers, policy)
        learned.train_from_iterator(texts, trainer)
        content = json.loads(learned.to_str())
        if policy.tokens == "ascii_words":
            content["added_tokens"] = []
        return cls(content)

    @cached_property
    def _tokenizer(self) -> Any:
        return _library().Tokenizer.from_str(json.dumps(self.content | _PLAIN))

    def of_length(self, length: int) -> dict[str, Any]:
        """The content of a file that also cuts and pads texts, for the input of a deployed file."""
        truncation = {
            "direction": "Right",
            "max_length": length,
            "strategy": "LongestFirst",
            "stride": 0,
        }
        padding = {
            "strategy": {"Fixed": length},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": PADDING,
            "pad_type_id": 0,
            "pad_token": _SPECIAL[PADDING],
        }
        return self.content | _PLAIN | {"truncation": truncation, "padding": padding}

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return int(self._tokenizer.get_vocab_size())

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """The numbers of the tokens of each text; a text without any has the unknown one."""
        encoded = self._tokenizer.encode_batch(list(texts))
        return [one.ids or [UNKNOWN] for one in encoded]

    def words(self, numbers: Sequence[int]) -> list[str]:
        """Tokens in words, without padding."""
        known = [number for number in numbers if number != PADDING]
        return [str(self._tokenizer.id_to_token(number)) for number in known]


def padded(numbers: Sequence[Sequence[int]], length: int) -> NDArray[np.int32]:
    """Tokens (N, length) of texts: longer ones are cut, shorter ones end with padding."""
    tokens = np.full((len(numbers), length), PADDING, np.int32)
    for row, text in enumerate(numbers):
        kept = text[:length]
        tokens[row, : len(kept)] = kept
    return tokens


def is_ascii_words(content: Mapping[str, Any]) -> bool:
    """Whether a tokenizer is one of `tokens: ascii_words`."""
    before = content["pre_tokenizer"] or {}
    return bool(before.get("pattern") == {"Regex": ASCII_WORD} and before.get("invert"))


def _divide(learned: Any, tokenizers: Any, policy: TextPolicy) -> None:
    """Unicode: compatible characters become one, and spaces and punctuation of all scripts divide."""
    steps = [tokenizers.normalizers.NFKC()]
    steps += [tokenizers.normalizers.Lowercase()] if policy.lowercase else []
    learned.normalizer = tokenizers.normalizers.Sequence(steps)
    learned.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()


def _divide_as_files_can(learned: Any, tokenizers: Any, policy: TextPolicy) -> None:
    """ASCII alone, which operators of ONNX Runtime can do too: see `espalier.inputs.text.strings`."""
    if policy.lowercase:
        replace = tokenizers.normalizers.Replace
        steps = [replace(capital, capital.lower()) for capital in _CAPITALS]
        learned.normalizer = tokenizers.normalizers.Sequence(steps)
    pattern = tokenizers.Regex(ASCII_WORD)
    learned.pre_tokenizer = tokenizers.pre_tokenizers.Split(pattern, "removed", invert=True)


def _library() -> Any:
    optional_library("tokenizers", "texts")
    import tokenizers
    import tokenizers.models
    import tokenizers.normalizers
    import tokenizers.pre_tokenizers
    import tokenizers.trainers

    return tokenizers

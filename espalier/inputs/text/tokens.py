"""Tokenizers, which the library `tokenizers` learns and applies."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from espalier.optional import optional_library
from espalier.settings.texts import TextPolicy

PADDING, UNKNOWN = 0, 1
_SPECIAL = ["[PAD]", "[?]"]  # tokens 0 and 1
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
        if policy.tokens == "words":
            learned = tokenizers.Tokenizer(models.WordLevel(unk_token=_SPECIAL[UNKNOWN]))
            trainer = trainers.WordLevelTrainer(min_frequency=_RARE, **common)
        else:
            learned = tokenizers.Tokenizer(models.BPE(unk_token=_SPECIAL[UNKNOWN]))
            trainer = trainers.BpeTrainer(min_frequency=_RARE, **common)
        steps = [tokenizers.normalizers.NFKC()]
        steps += [tokenizers.normalizers.Lowercase()] if policy.lowercase else []
        learned.normalizer = tokenizers.normalizers.Sequence(steps)
        learned.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        learned.train_from_iterator(texts, trainer)
        return cls(json.loads(learned.to_str()))

    @cached_property
    def _tokenizer(self) -> Any:
        return _library().Tokenizer.from_str(json.dumps(self.content))

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


def _library() -> Any:
    optional_library("tokenizers", "texts")
    import tokenizers
    import tokenizers.models
    import tokenizers.normalizers
    import tokenizers.pre_tokenizers
    import tokenizers.trainers

    return tokenizers

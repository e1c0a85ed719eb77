"""Texts: tokens (N, length) int32, 0 after the end of a text."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import reason_of
from espalier.inputs.plain import PlainInput
from espalier.inputs.table.columns import is_missing
from espalier.inputs.text.tokens import PADDING, UNKNOWN, Tokenizer, padded
from espalier.paths import TOKENIZER
from espalier.settings.texts import TextPolicy

_TAIL = 0.99  # fraction of the texts of train that are kept whole


@dataclass(frozen=True)
class TextFacts:
    """Facts of texts in `dataset.json`.

    Attributes:
        vocabulary: number of different tokens.
        tokenizer: content of the tokenizer, in the form of the library `tokenizers`.
    """

    vocabulary: int
    tokenizer: dict[str, Any]


class Tokens(nn.Module):
    """Maps tokens (N, length) int32 to int64, which torch's embeddings take."""

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens."""
        return tokens.long()


class TextInput(PlainInput):
    """The kind `text`."""

    name = "text"
    plural = "texts"
    dtype = torch.int32
    facts_type = TextFacts

    def decode(self, content: Any) -> str:
        """The text itself.

        Raises:
            ValueError: if it is empty, or no text.
        """
        text = _in_utf8(content) if isinstance(content, bytes) else content
        if not isinstance(text, str) and is_missing(text):
            raise ValueError("an empty cell; in CSV and TSV, NA, NaN, nan and null are empty, too")
        if not isinstance(text, str):
            raise ValueError(f"no text: {type(content).__name__}")
        if not text.strip():
            raise ValueError("an empty text")
        return text

    def digest(self, example: str) -> str:
        """SHA-256 of the text in UTF-8."""
        return hashlib.sha256(example.encode("utf-8", "surrogateescape")).hexdigest()

    def store(
        self, examples: Sequence[str], train: NDArray[np.int64], **options: Any
    ) -> tuple[NDArray[np.int32], TextFacts]:
        """The tokens (N, length), and the tokenizer that was learned from the train split.

        Args:
            examples: all texts.
            train: rows of the train split.
            options: `policy`, the settings.
        """
        policy: TextPolicy = options["policy"]
        tokenizer = Tokenizer.learn([examples[row] for row in train], policy)
        numbers = tokenizer.numbers(examples)
        length = policy.length or _usual_length([len(numbers[row]) for row in train])
        return padded(numbers, length), TextFacts(tokenizer.size, tokenizer.content)

    def describe(self, shape: tuple[int, ...], facts: TextFacts) -> str:
        """The form of an example, such as `up to 24 of 5,000 tokens`."""
        return f"up to {shape[0]} of {facts.vocabulary:,} tokens"

    def front(self, facts: TextFacts) -> Tokens:
        """The conversion of the tokens."""
        del facts
        return Tokens()

    def network_arguments(self, facts: TextFacts) -> dict[str, Any]:
        """The size of the vocabulary."""
        return {"vocabulary": facts.vocabulary}

    def model_files(self, shape: tuple[int, ...], facts: TextFacts) -> dict[str, Any]:
        """The tokenizer, which cuts and pads texts to the length of an example."""
        return {TOKENIZER: Tokenizer(facts.tokenizer).of_length(shape[0])}

    def parts(self, example: NDArray[np.int32], facts: TextFacts) -> list[str]:
        """The tokens of a text; unknown ones as `[?]`."""
        return Tokenizer(facts.tokenizer).words(example.tolist())

    def without(self, inputs: Tensor, part: int, facts: TextFacts) -> Tensor:
        """Texts in which a token is unknown; padding stays."""
        del facts
        changed = inputs.clone()
        column = changed[:, part]
        changed[:, part] = torch.where(column == PADDING, column, UNKNOWN)
        return changed

    def display(self, example: NDArray[np.int32], facts: TextFacts) -> str:
        """The tokens of a text, separated by spaces."""
        return " ".join(self.parts(example, facts))


def _in_utf8(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{reason_of(error)}: save it as UTF-8") from None


def _usual_length(lengths: Sequence[int]) -> int:
    return max(1, int(np.quantile(lengths, _TAIL)))


__all__ = ["TextFacts", "TextInput", "Tokens"]

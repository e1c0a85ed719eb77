"""Settings of texts."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from espalier.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class TextPolicy:
    """The division of texts into tokens; it is learned from the train split alone.

    Attributes:
        tokens: `words` splits at spaces and punctuation; `ascii_words` at those of ASCII alone, and
            of capital letters A to Z alone become small, so that a deployed file can take strings;
            `subwords` learns frequent parts of words
            (byte-pair encoding), which know no unknown word of a known script.
        vocabulary: largest number of different tokens.
        length: tokens of a text that are kept; None takes the 99th percentile of the lengths of the
            texts of train.
        lowercase: whether capital letters become small ones.
    """

    tokens: Literal["words", "ascii_words", "subwords"] = "words"
    vocabulary: int = 8000
    length: int | None = None
    lowercase: bool = True

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Refuse a vocabulary or a length without tokens.

        Raises:
            BadInput: if one is too small.
        """
        if self.vocabulary < 3:
            raise BadInput(
                f"Expected `data.text.vocabulary` to be at least 3; found {self.vocabulary}."
            )
        if self.length is not None and self.length < 1:
            raise BadInput(f"Expected `data.text.length` to be at least 1; found {self.length}.")

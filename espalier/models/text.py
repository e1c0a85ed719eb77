"""Networks on tokens (N, length) int64. Token 0 is the padding after a text, token 1 an unknown word.

Words are numbered by their frequency. A network with a smaller `vocabulary` than the data takes the
rarer words for unknown: so a large vocabulary is taught to a small one, and the embedding, most of a
small network, shrinks with it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.errors import BadInput

_PADDING, _UNKNOWN = 0, 1
_HIDDEN = -1e4  # added to the score of padding: finite, so that a text of padding alone has a mean


class TextCNN(nn.Module):
    """Convolutions of several widths over the embeddings of tokens, and the largest response of each.

    Source: Kim (2014), "Convolutional neural networks for sentence classification".
    """

    def __init__(
        self, classes: int, vocabulary: int, width: int, filters: int, kernels: Sequence[int]
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=_PADDING)
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(width, filters, size, padding=size // 2) for size in kernels]
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(filters * len(kernels), classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """The outputs (N, classes)."""
        embedded = self.embedding(_known(tokens, self.embedding)).transpose(1, 2)
        largest = [
            F.adaptive_max_pool1d(F.relu(convolution(embedded)), 1).flatten(1)
            for convolution in self.convolutions
        ]
        outputs: Tensor = self.head(self.dropout(torch.cat(largest, 1)))
        return outputs


class TextLSTM(nn.Module):
    """A bidirectional LSTM over the embeddings of tokens, averaged over the tokens of the text.

    Source: Hochreiter and Schmidhuber (1997); bidirectional Schuster and Paliwal (1997).
    """

    def __init__(self, classes: int, vocabulary: int, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=_PADDING)
        self.lstm = nn.LSTM(
            width,
            hidden,
            layers,
            batch_first=True,
            bidirectional=True,
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """The outputs (N, classes)."""
        states, _ = self.lstm(self.embedding(_known(tokens, self.embedding)))
        outputs: Tensor = self.head(self.dropout(_mean(states, tokens)))
        return outputs


class _Block(nn.Module):
    """Self-attention and a perceptron, each after a layer norm and beside a residual."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """The states (N, length, width) after the block; `hidden` (N, 1, 1, length) is added to scores."""
        x = x + self.dropout(self._attend(self.norm1(x), hidden))
        inner: Tensor = F.gelu(self.expand(self.norm2(x)))
        out: Tensor = x + self.dropout(self.contract(inner))
        return out

    def _attend(self, x: Tensor, hidden: Tensor) -> Tensor:
        count, length, _ = x.shape
        split = (
            self.qkv(x)
            .reshape(count, length, 3, self.heads, -1)
            .permute(
                2,
                0,
                3,
                1,
                4,
            )
        )
        queries, keys, values = split.unbind(0)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=hidden)
        joined: Tensor = self.project(attended.transpose(1, 2).reshape(count, length, -1))
        return joined


class TextEncoder(nn.Module):
    """A transformer over the embeddings of tokens and of their places, averaged over the tokens.

    Source: Vaswani et al. (2017), section 3; with the norms before, Xiong et al. (2020).
    """

    def __init__(
        self,
        classes: int,
        length: int,
        vocabulary: int,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=_PADDING)
        self.places = nn.Parameter(0.02 * torch.randn(1, length, width))
        self.blocks = nn.ModuleList(
            [_Block(width, heads, 2 * width, dropout) for _ in range(layers)]
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """The outputs (N, classes)."""
        hidden = ((tokens == _PADDING).float() * _HIDDEN)[:, None, None, :]
        embedded = self.embedding(_known(tokens, self.embedding))
        x = self.dropout(embedded + self.places)
        for block in self.blocks:
            x = block(x, hidden)
        outputs: Tensor = self.head(_mean(self.norm(x), tokens))
        return outputs


def text_cnn(
    *,
    classes: int,
    shape: tuple[int, ...],
    vocabulary: int,
    width: int = 64,
    filters: int = 64,
    kernels: Sequence[int] = (3, 4, 5),
) -> nn.Module:
    """Build convolutions over words.

    Args:
        classes: number of outputs.
        shape: number of tokens.
        vocabulary: number of different tokens that the network knows.
        width: width of an embedding.
        filters: number of filters of each size.
        kernels: sizes of the filters, in tokens.

    Raises:
        BadInput: if a number is not positive.
    """
    del shape
    _check("text_cnn", width=width, filters=filters, kernels=min(kernels, default=0))
    return TextCNN(classes, vocabulary, width, filters, kernels)


def text_lstm(
    *,
    classes: int,
    shape: tuple[int, ...],
    vocabulary: int,
    width: int = 64,
    hidden: int = 64,
    layers: int = 1,
) -> nn.Module:
    """Build a bidirectional LSTM over words.

    Args:
        classes: number of outputs.
        shape: number of tokens.
        vocabulary: number of different tokens that the network knows.
        width: width of an embedding.
        hidden: width of the states in each direction.
        layers: number of layers.

    Raises:
        BadInput: if a number is not positive.
    """
    del shape
    _check("text_lstm", width=width, hidden=hidden, layers=layers)
    return TextLSTM(classes, vocabulary, width, hidden, layers)


def text_encoder(
    *,
    classes: int,
    shape: tuple[int, ...],
    vocabulary: int,
    width: int = 128,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.1,
) -> nn.Module:
    """Build a transformer over words.

    Args:
        classes: number of outputs.
        shape: number of tokens.
        vocabulary: number of different tokens that the network knows.
        width: width of an embedding and of the states.
        layers: number of blocks.
        heads: number of heads of each attention, a divisor of the width.
        dropout: fraction of the values that are dropped in training.

    Raises:
        BadInput: if a number is not positive, or the heads do not divide the width.
    """
    _check("text_encoder", width=width, layers=layers, heads=heads)
    if width % heads:
        raise BadInput(
            f"Expected `heads` of espalier:text_encoder to divide its width {width}; found {heads}."
        )
    return TextEncoder(
        classes,
        shape[0],
        vocabulary,
        width,
        layers,
        heads,
        dropout,
    )


def _check(name: str, **numbers: int) -> None:
    wrong = [key for key, number in numbers.items() if number < 1]
    if wrong:
        raise BadInput(
            f"Expected `{wrong[0]}` of espalier:{name} to be at least 1; found {numbers[wrong[0]]}."
        )


def _known(tokens: Tensor, embedding: nn.Embedding) -> Tensor:
    """The tokens, with 1 (unknown) for each that has no row in the embedding."""
    inside = tokens < embedding.num_embeddings
    return torch.where(inside, tokens, torch.full_like(tokens, _UNKNOWN))


def _mean(states: Tensor, tokens: Tensor) -> Tensor:
    """The mean (N, width) of the states (N, length, width) of a text, without its padding."""
    known = (tokens != _PADDING).float()[:, :, None]
    return (states * known).sum(1) / known.sum(1).clamp(min=1)

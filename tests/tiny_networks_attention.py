"""Networks with attention, in the ways in which people write it."""

from collections.abc import Callable

import torch
from tiny_networks import Case, conv, hand, head
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS = 12, 3
Answer = Callable[["Attention", Tensor], Tensor]


class Attention(nn.Module):
    """Three heads of four channels, and a way to compute what they say."""

    def __init__(self, answer: Answer, width: int = WIDTH) -> None:
        super().__init__()
        self.num_heads, self.head_dim = HEADS, WIDTH // HEADS
        self.qkv = nn.Linear(width, 3 * WIDTH)
        self.q, self.k, self.v = (nn.Linear(width, WIDTH) for _ in range(3))
        self.out = nn.Linear(WIDTH, width)
        self.table = nn.Parameter(torch.randn(HEADS, 16, 16))
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.answer(self, x))


def newer(a: Attention, x: Tensor) -> Tensor:
    b, places, _ = x.shape
    q, k, v = (
        a.qkv(x).reshape(b, places, 3, a.num_heads, a.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
    )
    return (
        F.scaled_dot_product_attention(q, k, v)
        .transpose(1, 2)
        .reshape(b, places, a.num_heads * a.head_dim)
    )


def older(a: Attention, x: Tensor) -> Tensor:
    """Spells that the heads are as wide as the stream."""
    b, places, width = x.shape
    qkv = a.qkv(x).reshape(b, places, 3, a.num_heads, width // a.num_heads).permute(2, 0, 3, 1, 4)
    scores = (qkv[0] @ qkv[1].transpose(-2, -1)) * (width // a.num_heads) ** -0.5
    return (scores.softmax(-1) @ qkv[2]).transpose(1, 2).reshape(b, places, width)


def three_layers(a: Attention, x: Tensor) -> Tensor:
    q, k, v = (
        layer(x).view(*x.shape[:2], -1, a.head_dim).transpose(1, 2) for layer in (a.q, a.k, a.v)
    )
    return F.scaled_dot_product_attention(q, k, v, attn_mask=a.table).transpose(1, 2).flatten(2)


def batches(a: Attention, x: Tensor) -> Tensor:
    b, places, _ = x.shape
    parts = (layer(x).view(b, places, -1, a.head_dim).transpose(1, 2) for layer in (a.q, a.k, a.v))
    q, k, v = (part.reshape(-1, places, a.head_dim) for part in parts)
    scores = torch.bmm(q, k.transpose(1, 2)) / a.head_dim**0.5
    return (
        torch.bmm(scores.softmax(-1), v).view(b, -1, places, a.head_dim).transpose(1, 2).flatten(2)
    )


def added(a: Attention, x: Tensor) -> Tensor:
    parts = (
        layer(x).unflatten(-1, (-1, a.head_dim)).transpose(1, 2).flatten(0, 1)
        for layer in (a.q, a.k, a.v)
    )
    q, k, v = parts
    scores = torch.baddbmm(a.table.repeat(len(x), 1, 1), q, k.mT)
    return (scores.softmax(-1) @ v).unflatten(0, (len(x), -1)).transpose(1, 2).flatten(2)


def letters(a: Attention, x: Tensor) -> Tensor:
    q, k, v = (part.unflatten(-1, (-1, a.head_dim)) for part in a.qkv(x).chunk(3, -1))
    scores = torch.einsum("blhd,bshd->bhls", q, k) * a.head_dim**-0.5
    return torch.einsum("bhls,bshd->blhd", (scores + a.table).softmax(-1), v).flatten(2)


def cosines(a: Attention, x: Tensor) -> Tensor:
    q, k, v = (
        part.unflatten(-1, (-1, a.head_dim)).transpose(1, 2) for part in a.qkv(x).chunk(3, -1)
    )
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    return ((scores + a.table).softmax(-1) @ v).transpose(1, 2).flatten(2)


def rotated(a: Attention, x: Tensor) -> Tensor:
    """Queries and keys are turned by their place (rotary embedding)."""
    q, k, v = (
        layer(x).unflatten(-1, (-1, a.head_dim)).transpose(1, 2) for layer in (a.q, a.k, a.v)
    )
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * torch.ones(2, dtype=x.dtype)
    cosine, sine = angle.repeat(1, 2).cos(), angle.repeat(1, 2).sin()
    q, k = (
        part * cosine + torch.cat([-part[..., 2:], part[..., :2]], -1) * sine for part in (q, k)
    )
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


def one_head(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).flatten(2).transpose(1, 2)
    q, k, v = n.three(y).chunk(3, -1)
    y = y + n.out(F.scaled_dot_product_attention(q, k, v))
    return (y + n.down(F.gelu(n.up(y)))).mean(1)


def values_apart(n: nn.Module, x: Tensor) -> Tensor:
    """One head whose values are made by a layer of their own: they are channels like others."""
    y = n.first(x).flatten(2).transpose(1, 2)
    scores = torch.bmm(n.q(y), n.k(y).mT).softmax(-1)
    return n.out(torch.bmm(scores, n.v(y))).mean(1)


def stream(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).flatten(2).transpose(1, 2)
    return (y + n.mix(y)).mean(1)


def torchs(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).flatten(2).transpose(1, 2)
    return (y + n.mix(y, y, y)[0]).mean(1)


def of(answer: Answer, units: int, heads: int = HEADS) -> Case:
    """A residual stream around attention."""
    return hand(
        stream,
        units,
        lambda: {"first": nn.Conv2d(3, WIDTH, 2, 2), "mix": Attention(answer), "head": head(WIDTH)},
        heads=heads,
    )


ATTENTION = {
    "attention in one tensor": of(newer, HEADS + WIDTH),
    "attention that spells its width": of(older, 0, heads=0),
    "attention of three layers": of(three_layers, HEADS + WIDTH),
    "attention of batches": of(batches, HEADS + WIDTH),
    "attention of batches that are added to": of(added, HEADS + WIDTH),
    "attention by letters": of(letters, HEADS + WIDTH),
    "attention by cosines": of(cosines, HEADS + WIDTH),
    "attention with rotations": of(rotated, HEADS + WIDTH),
    "attention with one head": hand(
        one_head, 8 + 20,
        lambda: {"first": conv(3, 8), "three": nn.Linear(8, 24), "out": nn.Linear(8, 8), "up": nn.Linear(8, 20),
                 "down": nn.Linear(20, 8), "head": head(8)},
    ),
    "values of a layer of their own": hand(
        values_apart, 8 + 7 + 6,
        lambda: {"first": conv(3, 8), "q": nn.Linear(8, 5), "k": nn.Linear(8, 5), "v": nn.Linear(8, 7),
                 "out": nn.Linear(7, 6), "head": head(6)},
    ),
    "torch's attention": hand(
        torchs, 3 + 12,
        lambda: {"first": nn.Conv2d(3, 12, 2, 2), "mix": nn.MultiheadAttention(12, 3, batch_first=True),
                 "head": head(12)},
        heads=3,
    ),
    "torch's encoder": hand(
        lambda n, x: n.mix(n.first(x).flatten(2).permute(2, 0, 1)).mean(0), 12 + 2 * (3 + 10),
        lambda: {"first": nn.Conv2d(3, 12, 2, 2),
                 "mix": nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 3, 10), 2, enable_nested_tensor=False),
                 "head": head(12)},
        heads=6,
    ),
}  # fmt: skip

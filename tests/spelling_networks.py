"""Small networks whose forward passes spell sizes, as people write them."""

import torch
from torch import nn
from torch.nn import functional as F

from espalier.models.architecture import Architecture

IMAGE = (3, 16, 16)
TOKENS = (8, 24)


def conv(before, after):
    return nn.Conv2d(before, after, 3, padding=1)


class Tutorial(nn.Module):
    """A product of numbers in a view, as in PyTorch's own first tutorial."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(3, 16), conv(16, 16)
        self.fc1, self.fc2 = nn.Linear(256, 64), nn.Linear(64, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.view(-1, 16 * 4 * 4))))


class Computed(nn.Module):
    """A number that is computed from a width in an attribute."""

    def __init__(self):
        super().__init__()
        self.width = 16
        self.first, self.second = conv(3, self.width), conv(self.width, 2 * self.width)
        self.head = nn.Linear(32 * self.width, 5)

    def forward(self, x):
        y = F.avg_pool2d(self.second(self.first(x).relu()).relu(), 4)
        return self.head(torch.reshape(y, (x.size(0), self.width * 32)))


class Grown(nn.Module):
    """A linear layer whose output becomes a map, by `nn.Unflatten`."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(768, 32), nn.Linear(32, 16 * 16)
        self.map, self.last, self.head = nn.Unflatten(1, (16, 4, 4)), conv(16, 16), nn.Linear(16, 5)

    def forward(self, x):
        y = self.map(self.second(self.first(x.flatten(1)).relu()))
        return self.head(self.last(y).relu().mean((2, 3)))


class Blur(nn.Module):
    """A saved filter whose groups are an attribute."""

    def __init__(self):
        super().__init__()
        self.channels = 32
        self.first, self.last, self.head = conv(3, 32), conv(32, 32), nn.Linear(32, 5)
        self.register_buffer("k", torch.ones(32, 1, 3, 3) / 9)

    def forward(self, x):
        y = F.conv2d(self.first(x).relu(), self.k, stride=2, padding=1, groups=self.channels)
        return self.head(self.last(y).relu().mean((2, 3)))


class Scaled(nn.Module):
    """A vector of scales that is viewed in a shape kept as an attribute."""

    def __init__(self):
        super().__init__()
        self.shape = (32, 1, 1)
        self.scale = nn.Parameter(torch.rand(32) + 0.5)
        self.first, self.last, self.head = conv(3, 32), conv(32, 32), nn.Linear(32, 5)

    def forward(self, x):
        y = self.first(x).relu() * self.scale.view(self.shape)
        return self.head(self.last(y).relu().mean((2, 3)))


class Shuffled(nn.Module):
    """Channels in four groups; the forward pass spells their number and not their width."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.head = conv(3, 16), conv(16, 16), nn.Linear(16, 5)

    def forward(self, x):
        y = self.first(x)
        b, c, h, w = y.shape
        y = y.view(b, -1, 4, h, w).transpose(1, 2).reshape(b, c, h, w)
        return self.head(self.last(y).relu().mean((2, 3)))


class NonLocal(nn.Module):
    """A non-local block (Wang et al. 2018), as it is usually written."""

    def __init__(self):
        super().__init__()
        self.inter_channels = 16
        self.stem, self.last, self.head = conv(3, 32), conv(32, 32), nn.Linear(32, 5)
        self.g, self.theta, self.phi = (nn.Conv2d(32, 16, 1) for _ in range(3))
        self.W = nn.Conv2d(16, 32, 1)

    def forward(self, x):
        x = self.stem(x).relu()
        b = x.size(0)
        g = self.g(x).view(b, self.inter_channels, -1).permute(0, 2, 1)
        theta = self.theta(x).view(b, self.inter_channels, -1).permute(0, 2, 1)
        f = torch.matmul(theta, self.phi(x).view(b, self.inter_channels, -1))
        y = torch.matmul(F.softmax(f, dim=-1), g).permute(0, 2, 1).contiguous()
        y = y.view(b, self.inter_channels, *x.size()[2:])
        return self.head(self.last(self.W(y) + x).relu().mean((2, 3)))


class Attention(nn.Module):
    """Self-attention between two linear layers of tokens; heads and widths are numbers."""

    def __init__(self, keys=32, context=32):
        super().__init__()
        self.embed, self.q, self.o = nn.Linear(24, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.k, self.v = nn.Linear(context, keys), nn.Linear(context, keys)
        self.up, self.down, self.head = nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(32, 5)

    def attended(self, x, x_context):
        b, n, _ = x.shape
        q = self.q(x).view(b, n, 4, 8).transpose(1, 2)
        k, v = (layer(x_context).view(b, -1, 4, 8).transpose(1, 2) for layer in (self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, 32)

    def forward(self, x):
        y = self.embed(x)
        y = y + self.o(self.attended(y, y))
        return self.head((y + self.down(self.up(y).relu())).mean(1))


class OverHeads(Attention):
    """The width of a head computed from the width of the stream, as timm writes it."""

    def __init__(self):
        super().__init__()
        self.num_heads, self.scale = 4, 8**-0.5

    def attended(self, x, x_context):
        b, n, c = x.shape
        q, k, v = (
            layer(x).reshape(b, n, self.num_heads, c // self.num_heads).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(b, n, c)


class CrossAttention(Attention):
    """Queries of one width attend to keys and values of another."""

    def __init__(self):
        super().__init__(context=24)

    def forward(self, x):
        y = self.embed(x)
        y = y + self.o(self.attended(y, x))
        return self.head((y + self.down(self.up(y).relu())).mean(1))


class RepeatedKeys(Attention):
    """Grouped queries: `repeat_kv` repeats each of four keys for two queries."""

    def __init__(self):
        super().__init__(keys=16)

    def attended(self, x, x_context):
        b, n, _ = x.shape
        q = self.q(x).view(b, n, 8, 4).transpose(1, 2)
        k, v = (layer(x_context).view(b, n, 4, 4).transpose(1, 2) for layer in (self.k, self.v))
        k, v = (part[:, :, None].expand(b, 4, 2, n, 4).reshape(b, 8, n, 4) for part in (k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, 8 * 4)


class Normalised(Attention):
    """A layer norm by the function, whose width is a number."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(64) + 0.5), nn.Parameter(torch.randn(64))

    def forward(self, x):
        y = self.embed(x)
        inside = F.layer_norm(self.up(y), (64,), self.weight, self.bias)
        return self.head((y + self.down(inside.relu())).mean(1))


class ScaledByWidth(Attention):
    """Attention whose scale is computed from the width of what it reads."""

    def attended(self, x, x_context):
        b, n, width = x.shape
        q, k, v = (
            layer(x).view(b, n, 4, width // 4).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        weights = (q @ k.mT * (width // 4) ** -0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(b, n, 32)


class HeadOfTraining(Tutorial):
    """A second head, of training alone, that spells the same width."""

    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Linear(16 * 4, 5)

    def forward(self, x):
        out = super().forward(x)
        if not self.training:
            return out
        y = F.adaptive_avg_pool2d(self.conv1(x), 2)
        return out, self.auxiliary(y.view(-1, 16 * 4))


class DividedBehindANorm(nn.Module):
    """A root of a width, and a norm, which allows other values."""

    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(24), nn.Linear(24, 64), nn.Linear(64, 24)
        self.head = nn.Linear(24, 5)

    def forward(self, x):
        y = F.relu(self.up(self.norm(x)))
        y = y / y.shape[-1] ** 0.5
        return self.head((x + self.down(y)).mean(1))


class DividedByWidth(Tutorial):
    """A factor that is computed from a width."""

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 4)
        x = F.relu(self.conv2(x)) * (1.0 / x.shape[1])
        return self.fc2(F.relu(self.fc1(x.view(-1, 16 * 4 * 4))))


PRUNED = {
    "a product of numbers": (Tutorial, IMAGE),
    "a number computed from an attribute": (Computed, IMAGE),
    "a layer that unflattens": (Grown, IMAGE),
    "groups of a saved filter": (Blur, IMAGE),
    "a shape in an attribute": (Scaled, IMAGE),
    "groups of a shuffle": (Shuffled, IMAGE),
    "a non-local block": (NonLocal, IMAGE),
    "heads and widths": (Attention, TOKENS),
    "a width over its heads": (OverHeads, TOKENS),
    "heads over another width": (CrossAttention, TOKENS),
    "repeated keys": (RepeatedKeys, TOKENS),
    "a layer norm": (Normalised, TOKENS),
}


def make(kind, classes=5, shape=IMAGE):
    """One of the networks, by its name."""
    network = PRUNED[kind][0]()
    return Architecture("spelling_networks:make", 5, PRUNED[kind][1], {"kind": kind}).attach(
        network
    )

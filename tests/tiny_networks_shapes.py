"""Networks in which tensors are put together, cut, and laid out in another way."""

import torch
from tiny_networks import conv, hand, head
from torch import Tensor, nn
from torch.nn import functional as F


def offsets(n: nn.Module, x: Tensor) -> Tensor:
    return n.mix(n.norm(torch.cat([n.one(x), n.two(x), n.three(x)], 1)).relu()).relu()


def dense(n: nn.Module, x: Tensor) -> Tensor:
    one = n.one(x)
    two = n.two(n.norm(torch.cat([x, one], 1)).relu())
    three = n.three(torch.cat([one, x, two], dim=1).relu())
    return torch.cat([two, x, one, three], -3).relu()


def stacked(n: nn.Module, x: Tensor) -> Tensor:
    one, two = torch.stack([n.one(x), n.two(x)], 1).unbind(1)
    return n.last(torch.stack([one, two.relu()]).sum(0))


def shuffle(n: nn.Module, x: Tensor) -> Tensor:
    y = n.group(n.first(x).relu())
    b, c, h, w = y.shape
    y = y.view(b, 3, c // 3, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
    return n.last(y.relu())


def shuffle_twice(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    for groups in (2, 3):
        y = y.unflatten(1, (groups, -1)).movedim(1, 2).flatten(1, 2)
    return n.last(y.relu())


def split_in_halves(n: nn.Module, x: Tensor) -> Tensor:
    one, two = n.first(x).chunk(2, 1)
    return n.last(torch.cat([one, n.branch(two).relu()], 1)).relu()


def gate(n: nn.Module, x: Tensor) -> Tensor:
    value, opening = n.first(x).chunk(2, dim=1)
    return n.last(value * opening.sigmoid())


def split(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    one, two = y.split(y.shape[1] // 2, 1)
    return n.last(one * two).relu()


def sliced(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    return n.last(y[:, :4] + y[:, 4:]).relu()


def places(n: nn.Module, x: Tensor) -> Tensor:
    """Four pixels become one with four times the channels, as between the stages of Swin."""
    y = F.pad(n.first(x), (0, 1, 1, 0)).roll((1, 2), (2, 3)).permute(0, 2, 3, 1)[:, :8, :8]
    y = torch.cat([y[:, 0::2, 0::2], y[:, 1::2, 0::2], y[:, 0::2, 1::2], y[:, 1::2, 1::2]], -1)
    return n.last(y).permute(0, 3, 1, 2).relu()


def flat(n: nn.Module, x: Tensor) -> Tensor:
    return n.second(torch.flatten(F.max_pool2d(n.first(x).relu(), 4), 1)).relu()


def windows(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    y = (
        y.unflatten(2, (2, 4))
        .unflatten(4, (2, 4))
        .permute(0, 2, 4, 3, 5, 1)
        .reshape(-1, 16, y.shape[1])
    )
    y = (
        n.second(y)
        .relu()
        .view(len(x), 2, 2, 4, 4, -1)
        .permute(0, 5, 1, 3, 2, 4)
        .flatten(4)
        .flatten(2, 3)
    )
    return n.last(y)


def repeated(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    return n.last(
        y.repeat(1, 3, 1, 1) * y.mean((2, 3), keepdim=True).expand_as(y).repeat(1, 3, 1, 1)
    )


def token(n: nn.Module, x: Tensor) -> Tensor:
    """A learned place beside those of the image, and it alone is read."""
    y = n.first(x).flatten(2).mT
    y = torch.cat([n.token.weight.expand(len(x), -1, -1), y], 1) + n.position.weight
    y = y + n.mix(y.mT).relu().mT
    return n.last(y[:, 0]).relu()


def rolled(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.second(n.first(x).roll(1, 1)).relu())


def cumulated(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.second(n.first(x).cumsum(1)).relu())


def subpixel(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(F.pixel_shuffle(n.first(x), 2)).relu()


def looked_up(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).flatten(2)
    return n.last(y[:, :, torch.arange(0, 64, 3)].mean(2)).relu()


class Table(nn.Module):
    """Holds weights, and computes nothing."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))


SHAPES = {
    "concatenation": hand(
        offsets, 4 + 6 + 2 + 8,
        lambda: {"one": conv(3, 4), "two": conv(3, 6, 1), "three": conv(3, 2), "norm": nn.BatchNorm2d(12),
                 "mix": conv(12, 8), "head": head(8)},
    ),
    "dense reuse": hand(
        dense, 4 + 6 + 5,
        lambda: {"one": conv(3, 4), "norm": nn.BatchNorm2d(7), "two": conv(7, 6), "three": conv(13, 5),
                 "head": head(18)},
    ),
    "stack": hand(
        stacked, 8 + 6, lambda: {"one": conv(3, 8), "two": conv(3, 8), "last": conv(8, 6), "head": head(6)}
    ),
    "flatten": hand(flat, 6 + 10, lambda: {"first": conv(3, 6), "second": nn.Linear(24, 10), "head": head(10)}),
    "shuffle": hand(
        shuffle, 2 + 4 + 6,
        lambda: {"first": conv(3, 6), "group": conv(6, 12, groups=3), "last": conv(12, 6), "head": head(6)},
    ),
    "two shuffles": hand(
        shuffle_twice, 2 + 6, lambda: {"first": conv(3, 12), "last": conv(12, 6), "head": head(6)}
    ),
    "chunk": hand(
        split_in_halves, 5 + 7 + 6,
        lambda: {"first": conv(3, 10), "branch": conv(5, 7), "last": conv(12, 6), "head": head(6)},
    ),
    "gate": hand(gate, 5 + 6, lambda: {"first": conv(3, 10), "last": conv(5, 6), "head": head(6)}),
    "split": hand(split, 6, lambda: {"first": conv(3, 10), "last": conv(5, 6), "head": head(6)}),
    "slice": hand(sliced, 6, lambda: {"first": conv(3, 8), "last": conv(4, 6), "head": head(6)}),
    "merged patches": hand(
        places, 5 + 6, lambda: {"first": conv(3, 5), "last": nn.Linear(20, 6), "head": head(6)}
    ),
    "windows": hand(
        windows, 8 + 7 + 6,
        lambda: {"first": conv(3, 8), "second": nn.Linear(8, 7), "last": conv(7, 6), "head": head(6)},
    ),
    "repeat": hand(repeated, 4 + 6, lambda: {"first": conv(3, 4), "last": conv(12, 6), "head": head(6)}),
    "class token": hand(
        token, 8 + 6,
        lambda: {"first": conv(3, 8), "token": Table(1, 1, 8), "position": Table(1, 65, 8), "mix": nn.Conv1d(8, 8, 1),
                 "last": nn.Linear(8, 6), "head": head(6)},
    ),
    "rolled channels": hand(
        rolled, 7 + 6, lambda: {"first": conv(3, 8), "second": conv(8, 7), "last": conv(7, 6), "head": head(6)}
    ),
    "operator without a rule": hand(
        cumulated, 7 + 6, lambda: {"first": conv(3, 8), "second": conv(8, 7), "last": conv(7, 6), "head": head(6)}
    ),
    "pixel shuffle": hand(subpixel, 6, lambda: {"first": conv(3, 8), "last": conv(2, 6), "head": head(6)}),
    "places by their numbers": hand(
        looked_up, 8 + 6, lambda: {"first": conv(3, 8), "last": nn.Linear(8, 6), "head": head(6)}
    ),
}  # fmt: skip

"""Networks of layers and of operators that work index by index or over space."""

import torch
from tiny_networks import SMALL, Added, Case, Network, Scale, conv, hand, head
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.models import build


def grouped(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.norm(n.group(n.first(x).relu())).relu()).relu()


def excite(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    return n.last(y * n.expand(n.reduce(F.adaptive_avg_pool2d(y, 1)).relu()).sigmoid())


def convnext(n: nn.Module, x: Tensor) -> Tensor:
    x = n.first(x)
    y = n.down(F.gelu(n.up(n.norm(n.depthwise(x).permute(0, 2, 3, 1)))))
    return x + n.scale(y.permute(0, 3, 1, 2))


def shared(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).relu()
    return n.last(n.again(n.again(y).relu()) + n.other(y))


def residual(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    y += n.back(n.inner(y.relu()).relu())
    return n.last(y.relu_())


def fed_back(n: nn.Module, x: Tensor) -> Tensor:
    return n.last((n.first(x) + x).relu())


def dropped_paths(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    survives = torch.ones(
        len(y), 1, 1, 1, dtype=y.dtype
    )  # stochastic depth, when nothing is dropped
    return n.last((y + n.back(n.inner(y).relu()) * survives / 0.9).relu())


def across_channels(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).permute(0, 2, 3, 1)
    return n.last(F.max_pool2d(y, (1, 2)).permute(0, 3, 1, 2))


def mixer(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).flatten(2).transpose(1, 2)  # (N, places, channels)
    return n.last(n.tokens(y).relu().mean(1))


def sequence(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.depthwise(n.first(x.flatten(2)).relu())).mean(2)


def stacked_lstm(n: nn.Module, x: Tensor) -> Tensor:
    states, (_, cells) = n.lstm(n.first(x.mean(2)))
    return n.last(states.mean(1)).relu() + n.last(torch.cat([cells[-2], cells[-1]], 1))


def last_state(n: nn.Module, x: Tensor) -> Tensor:
    states, _ = n.gru(n.first(x.mean(2)).transpose(0, 1))
    return n.next(states)[1][-1]


def first_state(n: nn.Module, x: Tensor) -> Tensor:
    first = n.first(x.mean((1, 2)))[None]
    return n.gru(x.flatten(2).transpose(1, 2), first)[0].mean(1)


def looked_up(n: nn.Module, x: Tensor) -> Tensor:
    numbers = (x[:, 0] * 3).abs().long().clamp(max=9).flatten(1)
    return n.last(n.table(numbers).transpose(1, 2)).relu().mean(2)


def plain(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.second(n.first(x)).relu())


def levelled(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).mean((2, 3))
    return n.second(n.norm(y)).relu()


def up_again(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(F.avg_pool2d(x, 2)).relu()
    return n.last(F.interpolate(y, scale_factor=2, mode="bilinear") + n.transposed(y)).relu()


def computed(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    return n.last(
        (y.abs() + 1e-3).sqrt() * y.clamp(-1, 1).pow(2) * torch.where(y > 0, y, y.neg()).exp()
    )


def over_space(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    scores = n.scores(y).flatten(2).softmax(-1)
    best, _ = y.flatten(2).max(2)
    return n.last((y.flatten(2) * scores).sum(2) + best + y.amax((2, 3))).relu()


def largest(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(torch.max(n.first(x), n.second(x)).relu())


def normalised(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(F.normalize(n.first(x), dim=1))


def two_inputs(n: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return n.last((n.first(x) + n.second(y)[:, :, None, None]).relu())


class TwoHeads(nn.Module):
    """Answers two questions; one of them from what it answered to none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = conv(3, 8), nn.Linear(8, 5), nn.Linear(8, 6)
        self.three = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.first(x).relu().mean((2, 3))
        return {"kind": self.one(y), "colour": self.three(self.two(y).relu())}


class Untaught(nn.Module):
    """Adds a table that is not saved with the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(width, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


def tied() -> nn.Module:
    """Two layers that hold the same weights."""
    network = Network(
        lambda n, x: n.last(n.two(n.one(n.first(x)).relu())).relu(),
        first=conv(3, 8), one=conv(8, 8), two=conv(8, 8), last=conv(8, 4), head=head(4),
    )  # fmt: skip
    network.two.weight = network.one.weight
    return network


def own(name: str, units: int, shape: tuple[int, int, int] = SMALL, **arguments: object) -> Case:
    return Case(
        lambda: build(f"espalier:{name}", classes=5, shape=shape, arguments=arguments),
        units,
        (shape,),
    )


LAYERS = {
    "resnet": own("resnet", 8 + 16 + 32 + 8 + 16 + 32, depth=8, width=8),
    "wide_resnet": own("wide_resnet", 16 + 16 + 2 * 32 + 2 * 64, depth=10, widen=1),
    "vgg": own("vgg", 4 + 8 + 2 * 16 + 2 * 32 + 2 * 32, (3, 16, 16), depth=11, width=4),
    "mobilenet": own("mobilenet", 496 + 1824, (3, 16, 16), multiplier=0.25),
    "cnn": own("cnn", 4 + 6 + 8, widths=[[4, 6], [8]]),
    "lenet5": own("lenet5", 20 + 50 + 500, (1, 28, 28)),
    "lenet300": own("lenet300", 400, (1, 8, 8)),
    "mlp": own("mlp", 24, (1, 8, 8), hidden=[16, 8]),
    "depthwise": hand(
        grouped, 8 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 8, groups=8), "norm": nn.BatchNorm2d(8), "last": conv(8, 6),
                 "head": head(6)},
    ),
    "depthwise with two filters each": hand(
        grouped, 8 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 16, groups=8), "norm": nn.BatchNorm2d(16),
                 "last": conv(16, 6), "head": head(6)},
    ),
    "depthwise on pixels": hand(
        grouped, 6,
        lambda: {"first": nn.Identity(), "group": conv(3, 6, groups=3), "norm": nn.BatchNorm2d(6), "last": conv(6, 6),
                 "head": head(6)},
    ),
    "grouped convolution": hand(
        grouped, 2 + 3 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 12, groups=4), "norm": nn.BatchNorm2d(12), "last": conv(12, 6),
                 "head": head(6)},
    ),
    "group norm": hand(
        grouped, 8 + 4 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 12), "norm": nn.GroupNorm(4, 12), "last": conv(12, 6),
                 "head": head(6)},
    ),
    "group norm of one group": hand(
        grouped, 8 + 12 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 12), "norm": nn.GroupNorm(1, 12), "last": conv(12, 6),
                 "head": head(6)},
    ),
    "group norm that is called by hand": hand(
        lambda n, x: n.last(F.group_norm(n.first(x), 4, n.norm.weight, n.norm.bias)), 6,
        lambda: {"first": conv(3, 12), "norm": nn.BatchNorm2d(12), "last": conv(12, 6), "head": head(6)},
    ),
    "instance norm": hand(
        grouped, 8 + 12 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 12), "norm": nn.InstanceNorm2d(12, affine=True),
                 "last": conv(12, 6), "head": head(6)},
    ),
    "prelu": hand(
        plain, 8 + 6,
        lambda: {"first": conv(3, 8), "second": nn.PReLU(8), "last": conv(8, 6), "head": head(6)},
    ),
    "prelu with one slope": hand(
        plain, 8 + 6,
        lambda: {"first": conv(3, 8), "second": nn.PReLU(), "last": conv(8, 6), "head": head(6)},
    ),
    "transposed convolution": hand(
        up_again, 8 + 6,
        lambda: {"first": conv(3, 8), "transposed": nn.ConvTranspose2d(8, 8, 2, 2), "last": conv(8, 6),
                 "head": head(6)},
    ),
    "squeeze-excitation": hand(
        excite, 8 + 4 + 6,
        lambda: {"first": conv(3, 8), "reduce": conv(8, 4, 1), "expand": conv(4, 8, 1), "last": conv(8, 6),
                 "head": head(6)},
    ),
    "convnext": hand(
        convnext, 6 + 24,
        lambda: {"first": conv(3, 6), "depthwise": conv(6, 6, 7, groups=6), "norm": nn.LayerNorm(6),
                 "up": nn.Linear(6, 24), "down": nn.Linear(24, 6), "scale": Scale(6, 1, 1), "head": head(6)},
    ),
    "layer norm without weights": hand(
        levelled, 6,
        lambda: {"first": conv(3, 8), "norm": nn.LayerNorm(8, elementwise_affine=False), "second": nn.Linear(8, 6),
                 "head": head(6)},
    ),
    "root mean square norm": hand(
        levelled, 8 + 6,
        lambda: {"first": conv(3, 8), "norm": nn.RMSNorm(8), "second": nn.Linear(8, 6), "head": head(6)},
    ),
    "shared consumers": hand(
        shared, 8 + 6,
        lambda: {"first": conv(3, 8), "again": conv(8, 8), "other": conv(8, 8), "last": conv(8, 6), "head": head(6)},
    ),
    "residual": hand(
        residual, 8 + 5 + 6,
        lambda: {"first": conv(3, 8), "inner": conv(8, 5), "back": conv(5, 8), "last": conv(8, 6), "head": head(6)},
    ),
    "stochastic depth": hand(
        dropped_paths, 8 + 5 + 6,
        lambda: {"first": conv(3, 8), "inner": conv(8, 5), "back": conv(5, 8), "last": conv(8, 6), "head": head(6)},
    ),
    "sum with pixels": hand(fed_back, 6, lambda: {"first": conv(3, 3), "last": conv(3, 6), "head": head(6)}),
    "bare scale": hand(
        plain, 8 + 6,
        lambda: {"first": conv(3, 8), "second": Scale(1, 8, 1, 1), "last": conv(8, 6), "head": head(6)},
    ),
    "bare shift": hand(
        plain, 8 + 6,
        lambda: {"first": conv(3, 8), "second": Added(1, 8, 1, 1), "last": conv(8, 6), "head": head(6)},
    ),
    "many functions": hand(computed, 8 + 6, lambda: {"first": conv(3, 8), "last": conv(8, 6), "head": head(6)}),
    "softmax and largest over space": hand(
        over_space, 8 + 6,
        lambda: {"first": conv(3, 8), "scores": conv(8, 1, 1), "last": nn.Linear(8, 6), "head": head(6)},
    ),
    "larger of two": hand(
        largest, 8 + 6, lambda: {"first": conv(3, 8), "second": conv(3, 8), "last": conv(8, 6), "head": head(6)}
    ),
    "normalised over channels": hand(
        normalised, 6, lambda: {"first": conv(3, 8), "last": conv(8, 6), "head": head(6)}
    ),
    "pooled over channels": hand(
        across_channels, 6, lambda: {"first": conv(3, 8), "last": conv(4, 6), "head": head(6)}
    ),
    "convolved over channels": hand(
        mixer, 6,
        lambda: {"first": conv(3, 8), "tokens": nn.Conv1d(64, 5, 1), "last": nn.Linear(8, 6), "head": head(6)},
    ),
    "one dimension": hand(
        sequence, 8 + 6,
        lambda: {"first": nn.Conv1d(3, 8, 3), "depthwise": nn.Conv1d(8, 8, 3, groups=8), "last": nn.Conv1d(8, 6, 1),
                 "head": head(6)},
    ),
    "recurrent": hand(
        stacked_lstm, 8 + 6 + 6,
        lambda: {"first": nn.Linear(8, 8), "lstm": nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True),
                 "last": nn.Linear(12, 6), "head": head(6)},
    ),
    "recurrent with a last state": hand(
        last_state, 8 + 6 + 4,
        lambda: {"first": nn.Linear(8, 8), "gru": nn.GRU(8, 6, bias=False), "next": nn.RNN(6, 4), "head": head(4)},
    ),
    "recurrent with a first state": hand(
        first_state, 6,
        lambda: {"first": nn.Linear(8, 6), "gru": nn.GRU(3, 6, batch_first=True), "head": head(6)},
    ),
    "recurrent with a projection": hand(
        lambda n, x: n.lstm(n.first(x.mean(2)))[0].mean(1), 0,
        lambda: {"first": nn.Linear(8, 8), "lstm": nn.LSTM(8, 6, proj_size=3, batch_first=True), "head": head(3)},
    ),
    "looked up": hand(
        looked_up, 8 + 6,
        lambda: {"table": nn.Embedding(10, 8, padding_idx=0), "last": nn.Conv1d(8, 6, 3), "head": head(6)},
    ),
    "three dimensions": hand(
        lambda n, x: n.last(n.first(x.unsqueeze(2)).relu()).squeeze(2), 8 + 6,
        lambda: {"first": nn.Conv3d(3, 8, 1), "last": nn.Conv3d(8, 6, 1), "head": head(6)},
    ),
    "table that is not saved": hand(
        plain, 6, lambda: {"first": conv(3, 8), "second": Untaught(8), "last": conv(8, 6), "head": head(6)}
    ),
    "two inputs": hand(
        two_inputs, 8 + 6,
        lambda: {"first": conv(3, 8), "second": nn.Linear(7, 8), "last": conv(8, 6), "head": head(6)},
        shapes=(SMALL, (7,)),
    ),
    "two outputs": Case(TwoHeads, 8 + 6),
    "tied weights": Case(tied, 8 + 4),
}  # fmt: skip

"""ONNX files of torch's exporters, with the networks that they come from."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.models import build

EXPORTERS = ("legacy", "dynamo")


@dataclass(frozen=True)
class Source:
    """A network whose file is tried: a factory, and the shape of its inputs."""

    factory: str
    shape: tuple[int, ...] = (3, 32, 32)
    arguments: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return self.factory.partition(":")[2]

    def build(self) -> nn.Module:
        """The network, with statistics of norms as training leaves them."""
        torch.manual_seed(0)
        network = build(
            self.factory,
            classes=10,
            shape=self.shape,
            arguments=dict(self.arguments),
            trusted=("models",),
        )
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.normal_(module.running_mean, 0, 0.1)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
        return network.eval()


class Attention(nn.Module):
    """Self-attention of 4 heads of 8, as timm writes it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x)).reshape(*x.shape[:2], 3, 4, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return x + self.proj(y.flatten(2))


class Transformer(nn.Module):
    """Patches of 8x8, a class token, positions, two attention layers with a perceptron after each."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width))
        self.attention = nn.ModuleList(Attention(width) for _ in range(2))
        self.perceptron = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width)
            )
            for _ in range(2)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        for attention, perceptron in zip(self.attention, self.perceptron, strict=True):
            x = attention(x)
            x = x + perceptron(x)
        return self.head(x[:, 0])


def transformer(*, classes: int, shape: tuple[int, ...]) -> nn.Module:
    return Transformer(classes)


def torch_transformer(*, classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Torchvision's vision transformer with torch's own attention, 4 heads of 8, and 8x8 patches."""
    from torchvision.models import VisionTransformer

    network = VisionTransformer(shape[1], 8, 2, 4, 32, 64, num_classes=classes)
    nn.init.normal_(network.heads.head.weight)
    return network


def write_onnx(
    network: nn.Module,
    path: Path,
    shape: tuple[int, ...],
    exporter: str = "legacy",
    *,
    batch: int | None = None,
    **options: Any,
) -> Path:
    """Export a network as its owner does, for any number of examples or for a fixed one."""
    example = torch.randn(batch or 2, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        if exporter == "dynamo":
            pytest.importorskip("onnxscript")
            size = None if batch else ({0: torch.export.Dim("batch")},)
            kwargs = {"dynamo": True, "dynamic_shapes": size, "external_data": False}
            kwargs["verbose"] = False
        else:
            axes = {} if batch else {"input": {0: "batch"}}
            kwargs = {"dynamo": False, "dynamic_axes": axes}
        torch.onnx.export(
            network, (example,), str(path), input_names=["input"], **{**kwargs, **options}
        )
    return path

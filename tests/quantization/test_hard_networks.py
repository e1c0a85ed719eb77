"""Networks that static int8 breaks, on real images: what the ladder and training for integers make of them."""

import copy
import gzip

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from espalier.export.onnx import export
from espalier.folding import fold_batch_norms
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.quantization import aware, export_integers, quantize
from espalier.quantization.ladder import Ladder
from espalier.quantization.static import observe_file
from espalier.runtimes import DEFAULT

pytestmark = pytest.mark.slow

MEAN, STD = (0.286,), (0.353,)


def read(folder, stem: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images at half their size, and labels, of Fashion-MNIST."""
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"{stem}-{kind}-ubyte.gz").read_bytes()), np.uint8)[
            header:
        ]
        for kind, header in (("images-idx3", 16), ("labels-idx1", 8))
    )
    pixels = torch.tensor(images.reshape(-1, 1, 28, 28)[:count].copy())
    return F.avg_pool2d(pixels.float(), 2).round().byte(), torch.tensor(
        labels[:count].astype(np.int64)
    )


def front(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels.float() / 255 - MEAN[0]) / STD[0]


def train(network, pixels, labels, epochs: int, rate: float, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * (len(labels) // 64))
    network.train()
    for _ in range(epochs):
        for index in torch.randperm(len(labels), generator=generator)[
            : len(labels) // 64 * 64
        ].split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(front(pixels[index])), labels[index]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    network.eval()


@pytest.fixture(scope="module")
def images(shared_data):
    """1,500 to train on, 1,000 to choose by."""
    pixels, labels = read(shared_data / "fashion-mnist", "train", 2500)
    return (pixels[:1500], labels[:1500]), (pixels[1500:], labels[1500:])


@pytest.fixture(scope="module")
def hard(images, tmp_path_factory):
    """A MobileNet whose depthwise filters differ a lot in size, as they do in networks that were trained for long.

    A filter's channel is made larger and that of its reader smaller by the same factor, which leaves all answers as
    they are (Nagel et al. 2019, eq. 4 to 7, the other way around), and breaks one step for all filters.
    """
    torch.manual_seed(0)
    network = build(
        "espalier:mobilenet", classes=10, shape=(1, 14, 14), arguments={"multiplier": 0.25}
    )
    for name, module in list(network.named_modules()):
        if isinstance(module, torch.nn.ReLU6):
            network.set_submodule(name, torch.nn.ReLU(inplace=True))
    train(network, *images[0], epochs=4, rate=0.1)
    folded = fold_batch_norms(network, front(images[0][0][:2]))
    with torch.no_grad():
        exact = folded(front(images[1][0]))
        for number, block in enumerate(
            module for module in folded.modules() if hasattr(module, "residual")
        ):
            layers = [layer for layer in block.layers if isinstance(layer, torch.nn.Conv2d)]
            factor = 10 ** (
                2
                * torch.rand(
                    len(layers[-2].weight), generator=torch.Generator().manual_seed(number)
                )
                - 1
            )
            layers[-2].weight.mul_(factor.view(-1, 1, 1, 1))
            layers[-2].bias.mul_(factor)
            layers[-1].weight.div_(factor.view(1, -1, 1, 1))
        torch.testing.assert_close(folded(front(images[1][0])), exact, rtol=1e-3, atol=1e-3)
    path = tmp_path_factory.mktemp("hard") / "model.onnx"
    export(folded, path, images[0][0][:32], Normalize(MEAN, STD))
    return folded, path


def accuracy(file, validation) -> float:
    pixels, labels = validation
    return float((DEFAULT.open(file).outputs(pixels.numpy()).argmax(1) == labels.numpy()).mean())


def test_training_for_integers_repairs_what_static_int8_breaks(hard, images, tmp_path):
    (pixels, labels), validation = images
    network, source = hard
    before = accuracy(source, validation)
    assert before > 0.6
    quantize(
        source,
        tmp_path / "static.onnx",
        pixels[:128].numpy(),
        calibration="minmax",
        per_channel=False,
    )
    broken = accuracy(tmp_path / "static.onnx", validation)
    assert broken < before - 0.1
    learner = aware(
        copy.deepcopy(network), front(pixels[:128]), calibration="minmax", per_channel=False
    )
    train(learner, pixels, labels, epochs=5, rate=0.005)
    export_integers(learner, tmp_path / "aware.onnx", pixels[:64], Normalize(MEAN, STD))
    repaired = accuracy(tmp_path / "aware.onnx", validation)
    assert repaired > broken + 0.7 * (before - broken)


def test_the_ladder_finds_the_layers_that_broke(hard, images):
    (pixels, _), validation = images
    _, source = hard
    before = accuracy(source, validation)
    observed = observe_file(source, [pixels[:128].numpy()])
    ladder = Ladder(
        observed,
        "minmax",
        lambda model: accuracy(model.SerializeToString(), validation),
        enough=before - 0.02,
        images=pixels[:64].numpy(),
        layers=20,
        aware=None,
        per_channel=False,
    )
    tried, chosen = ladder.run()
    assert tried[0].accuracy < before - 0.1
    assert chosen.accuracy > tried[0].accuracy + 0.1

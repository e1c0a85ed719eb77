"""Trained networks of others: their published accuracy, to a tenth of a point, on all 10,000 test images."""

import runpy
from pathlib import Path

import pytest
import torch
from models.onnx_files import write_onnx
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.data.decoding import decode_all
from espalier.data.layout import read
from espalier.export.agreement import check_agreement
from espalier.inputs.image import Preprocess
from espalier.models.onnx_import import read_onnx
from espalier.models.trained import fit_weights, read_weights
from espalier.settings.images import ImagePreprocessing

IMAGENET = ImagePreprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
KERAS = ImagePreprocessing(range=(0, 255))


EXAMPLE = Path(__file__).parents[2] / "examples" / "resnet56" / "networks.py"
CifarResNet = runpy.run_path(str(EXAMPLE))["CifarResNet"]


class TinyResNet(nn.Module):
    """The image classifier of MLPerf Tiny, with the names and the padding that Keras gives."""

    def __init__(self) -> None:
        super().__init__()
        widths = [
            (3, 16, 3),
            (16, 16, 3),
            (16, 16, 3),
            (16, 32, 3),
            (32, 32, 3),
            (16, 32, 1),
            (32, 64, 3),
            (64, 64, 3),
            (32, 64, 1),
        ]
        for number, (before, after, size) in enumerate(widths):
            setattr(self, f"conv2d{f'_{number}' if number else ''}", nn.Conv2d(before, after, size))
        for number, width in enumerate((16, 16, 16, 32, 32, 64, 64)):
            norm = nn.BatchNorm2d(width, eps=1e-3)
            setattr(self, f"batch_normalization{f'_{number}' if number else ''}", norm)
        self.dense = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(
            self.batch_normalization(F.conv2d(x, self.conv2d.weight, self.conv2d.bias, padding=1))
        )
        for first, second, shortcut, norm in ((1, 2, None, 1), (3, 4, 5, 3), (6, 7, 8, 5)):
            stride = 1 if shortcut is None else 2
            y = F.relu(self._norm(norm, self._conv(first, x, stride)))
            y = self._norm(norm + 1, self._conv(second, y, 1))
            x = F.relu(y + (x if shortcut is None else self._conv(shortcut, x, 2)))
        return self.dense(x.mean((2, 3)))

    def _conv(self, number: int, x: Tensor, stride: int) -> Tensor:
        layer = getattr(self, f"conv2d_{number}")
        if layer.kernel_size == (3, 3):
            x = F.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
        return F.conv2d(x, layer.weight, layer.bias, stride)

    def _norm(self, number: int, x: Tensor) -> Tensor:
        return getattr(self, f"batch_normalization_{number}")(x)


@pytest.fixture(scope="module")
def test_images(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar10")
    for name in ("test.parquet", "classes.json"):
        (folder / name).symlink_to(shared_data / "cifar10" / name)
    source = read(folder)
    pixels = decode_all(source, folder / "pixels")
    return torch.from_numpy(pixels.examples.copy()), torch.tensor(
        source.examples["label"].to_numpy()
    )


PUBLISHED = pytest.mark.parametrize(
    ("file", "network", "preprocessing", "published"),
    [
        ("mlperf-tiny/resnet8.safetensors", TinyResNet, KERAS, 87.19),
        pytest.param(
            "resnet-cifar10/resnet20-12fca82f.th",
            lambda: CifarResNet(20),
            IMAGENET,
            91.73,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "resnet-cifar10/resnet56-4bfd9763.th",
            lambda: CifarResNet(56),
            IMAGENET,
            93.39,
            marks=pytest.mark.slow,
        ),
    ],
)


def with_weights(network, file, project_root):
    path: Path = project_root.parent / "shared" / "imports" / file
    if not path.is_file():
        pytest.skip(f"the trained networks of others are not at {path.parent}")
    model = network().eval()
    fit_weights(model, read_weights(path))
    return model


def accuracy(model, preprocessing, test_images):
    """Percent of the test images."""
    images, labels = test_images
    front = Preprocess(preprocessing, (3, 32, 32))
    model.to(memory_format=torch.channels_last)
    with torch.no_grad():
        right = sum(
            (model(front(x)).argmax(1) == y).sum().item()
            for x, y in zip(images.split(500), labels.split(500), strict=True)
        )
    return 100 * right / len(labels)


@PUBLISHED
def test_a_published_network_has_its_published_accuracy(
    file, network, preprocessing, published, project_root, test_images
):
    model = with_weights(network, file, project_root)
    assert accuracy(model, preprocessing, test_images) == pytest.approx(published, abs=0.1)


@PUBLISHED
def test_it_has_it_by_way_of_an_onnx_file_alone(
    file, network, preprocessing, published, project_root, test_images, tmp_path
):
    model = with_weights(network, file, project_root)
    path = write_onnx(model, tmp_path / "net.onnx", (3, 32, 32))
    program = read_onnx(path)
    images = Preprocess(preprocessing, (3, 32, 32))(test_images[0][:64])
    rebuilt = program.build()
    assert check_agreement(rebuilt, program, path, images) < 1e-4
    assert accuracy(rebuilt, preprocessing, test_images) == pytest.approx(published, abs=0.1)

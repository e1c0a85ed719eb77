"""The preprocessing that a trained network brings along equals the one that its owner applied."""

import numpy as np
import pytest
import torch
from PIL import Image
from properties import assert_explains
from torchvision.transforms import v2

from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.inputs.image import Preprocess
from espalier.runtimes import DEFAULT
from espalier.settings.images import ImagePreprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def photos():
    """Three smooth images of 40x60, so that scaling has something to keep."""
    noise = torch.rand(3, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(noise, (40, 60), mode="bicubic").clamp(0, 1)
    return (255 * large).round().to(torch.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop"), [(32, 28), (64, 56), (40, 40), (20, 20)])
def test_scaling_and_cropping_equal_those_of_torchvision_on_pillow_images(
    photos, interpolation, resize, crop
):
    transform = v2.Compose(
        [
            v2.Resize(resize, interpolation=v2.InterpolationMode(interpolation)),
            v2.CenterCrop(crop),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    images = [Image.fromarray(photo.permute(1, 2, 0).numpy()) for photo in photos]
    expected = torch.stack([transform(image) for image in images])
    settings = ImagePreprocessing(
        resize=resize, crop=crop, interpolation=interpolation, mean=MEAN, std=STD
    )
    found = Preprocess(settings, (3, 40, 60))(photos)
    assert found.shape == expected.shape
    # pillow computes in fixed point: one step of 255 here and there
    step = 1 / 255 / min(STD)
    assert (found - expected).abs().max() <= 1.01 * step
    assert (found - expected).abs().mean() < 0.05 * step


def test_images_that_are_scaled_and_cropped_to_their_own_size_change(photos):
    """As those of 224 pixels are for torchvision's networks, which scale to 256 and crop to 224."""
    square = photos[:, :, :, :40]
    transform = v2.Compose([v2.Resize(46), v2.CenterCrop(40), v2.PILToTensor()])
    images = [Image.fromarray(photo.permute(1, 2, 0).numpy()) for photo in square]
    expected = torch.stack([transform(image) for image in images]).float()
    settings = ImagePreprocessing(resize=46, crop=40, range=(0, 255))
    found = Preprocess(settings, (3, 40, 40))(square)
    assert (found - expected).abs().max() <= 1.01
    assert (found - square).abs().mean() > 2


def test_images_of_the_right_size_cost_no_product():
    settings = ImagePreprocessing(resize=40, crop=40)
    assert not Preprocess(settings, (3, 40, 40)).scaled


def test_the_range_of_values_comes_before_mean_and_deviation():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)

    def seen(**settings):
        return Preprocess(ImagePreprocessing(**settings), (1, 1, 1))(pixels).flatten().tolist()

    assert seen() == [0, 1]
    assert seen(range=(0, 255)) == [0, 255]
    assert seen(range=(-1, 1)) == [-1, 1]
    assert seen(mean=(0.5,), std=(0.25,)) == [-2, 2]
    assert seen(range=(0, 255), mean=(127.5,), std=(127.5,)) == [-1, 1]


def test_the_order_of_colours():
    pixel = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(1, 3, 1, 1)
    gray = torch.tensor([7], dtype=torch.uint8).reshape(1, 1, 1, 1)

    def seen(image, channels):
        front = Preprocess(
            ImagePreprocessing(channels=channels, range=(0, 255)), tuple(image.shape[1:])
        )
        return front(image).flatten().tolist()

    assert seen(pixel, "rgb") == [10, 20, 30]
    assert seen(pixel, "bgr") == [30, 20, 10]
    assert seen(gray, "rgb") == [7, 7, 7]
    assert seen(gray, "gray") == [7]


def test_the_deployed_file_contains_the_preprocessing(photos, tmp_path):
    settings = ImagePreprocessing(resize=32, crop=28, channels="bgr", mean=MEAN, std=STD)
    front = Preprocess(settings, (3, 40, 60))
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 26 * 26, 5)
    ).eval()
    export(network, tmp_path / "model.onnx", photos, front)
    with torch.no_grad():
        expected = network(front(photos)).numpy()
    found = DEFAULT.open(tmp_path / "model.onnx").outputs(photos.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"resize": 8, "size": 9}, ["resize", "size"]),
        ({"crop": 0}, ["1 pixel"]),
        ({"std": (0.0,)}, ["std", "above 0"]),
        ({"range": (1, 0)}, ["range"]),
        ({"crop": 41}, ["crop", "40x60", "41x41"]),
        ({"mean": (0.1, 0.2)}, ["mean", "1 or 3"]),
        ({"channels": "gray"}, ["gray", "3"]),
    ],
)
def test_settings_that_fit_no_image_are_refused(settings, words):
    with pytest.raises(BadInput) as refusal:
        Preprocess(ImagePreprocessing(**settings), (3, 40, 60))
    assert_explains(refusal.value, *words)

"""Random crops: those of Inception and torchvision, each a function of seed, view and index."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F

from espalier.decoders.images import decode_crop
from espalier.inputs.image import ImageDecoder, ImageFacts, ImageInput, RandomCrops, decode
from espalier.settings.images import ImagePolicy

CROPS = RandomCrops(seed=0, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
PIXELS = load_sample_images().images[0]


def encoded(pixels, form, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def pixels_of(image):
    return np.asarray(image).transpose(2, 0, 1)


def distance(pixels, image):
    """The mean absolute difference, of 255."""
    return np.abs(pixels.astype(int) - pixels_of(image)).mean()


def boxes(count, height, width, crops=CROPS):
    return np.array([crops.box(height, width, view=3, index=index) for index in range(count)])


def test_boxes_lie_in_the_image_within_the_bounds():
    """At least 8 % of the area and between 3:4 and 4:3, but for the rounding to whole pixels."""
    top, left, height, width = boxes(2000, 300, 400).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 300).all()
    assert (left + width <= 400).all()
    area = height * width / (300 * 400)
    assert area.min() > 0.079
    assert area.max() > 0.9
    assert (width / height).min() > 0.74
    assert (width / height).max() < 1.35


def test_boxes_are_distributed_as_those_of_torchvision():
    torch.manual_seed(0)
    image = Image.fromarray(np.zeros((120, 200, 3), np.uint8))
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    )
    ours = boxes(4000, 120, 200)
    largest = 1.95 * math.sqrt(2 / 4000)  # of Kolmogorov and Smirnov's distance, at 0.1 %
    for one, other in (
        (ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]),
        (ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2]),
        (ours[:, 0], theirs[:, 0]),
        (ours[:, 1], theirs[:, 1]),
    ):
        values = np.sort(np.concatenate([one, other]))
        below = [
            np.searchsorted(np.sort(part), values, "right") / len(part) for part in (one, other)
        ]
        assert np.abs(below[0] - below[1]).max() < largest


def test_a_box_depends_on_seed_view_and_index_alone():
    box = CROPS.box(300, 400, view=3, index=5)
    assert RandomCrops(0, CROPS.scale, CROPS.ratio).box(300, 400, view=3, index=5) == box
    others = [
        CROPS.box(300, 400, view=4, index=5),
        CROPS.box(300, 400, view=3, index=6),
        RandomCrops(1, CROPS.scale, CROPS.ratio).box(300, 400, view=3, index=5),
    ]
    assert len({box, *others}) == 4


@pytest.mark.parametrize(("height", "width"), [(20, 900), (900, 20)])
def test_of_an_image_that_no_draw_fits_the_centre_is_taken(height, width):
    crops = RandomCrops(0, (1.0, 1.0), CROPS.ratio)
    top, left, rows, columns = crops.box(height, width, view=0, index=0)
    assert columns / rows == pytest.approx(4 / 3 if width > height else 3 / 4, abs=0.05)
    assert min(rows, columns) == 20
    assert (2 * top + rows, 2 * left + columns) == pytest.approx((height, width), abs=1)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_pixels_are_those_of_torchvisions_resized_crop(form):
    content, policy = encoded(PIXELS[:90, :120], form), ImagePolicy(channels="rgb")
    image = Image.open(io.BytesIO(content))
    for index in range(10):
        box = CROPS.box(90, 120, view=0, index=index)
        expected = F.resized_crop(image, *box, [64, 64], InterpolationMode.BICUBIC)
        found = ImageDecoder(policy, (64, 64), CROPS)(content, index, 0)
        assert np.array_equal(found, np.asarray(expected).transpose(2, 0, 1))


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_with_nearly_the_same_pixels(monkeypatch):
    """About as near as bilinear scaling is to bicubic."""
    content, policy, box = encoded(PIXELS, "JPEG", quality=90), ImagePolicy(), (40, 60, 320, 480)
    with Image.open(io.BytesIO(content)) as image:
        expected = F.resized_crop(image, *box, [64, 96], InterpolationMode.BICUBIC)
    sizes = []
    crop = Image.Image.crop
    monkeypatch.setattr(
        Image.Image, "crop", lambda image, box: sizes.append(image.size) or crop(image, box)
    )
    found = decode_crop(content, policy, lambda *_: box, (64, 96))
    assert sizes == [(160, 107)]  # a quarter of 640 x 427: an eighth would be too small
    linear = F.resized_crop(Image.open(io.BytesIO(content)), *box, [64, 96])
    assert distance(found, expected) < 1.5 * distance(pixels_of(linear), expected) < 3.5


def test_an_image_turned_by_exif_is_cropped_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    upright = np.rot90(PIXELS[:60, :200], -1)
    content = encoded(PIXELS[:60, :200], "PNG", exif=exif)
    seen = []
    found = decode_crop(
        content, ImagePolicy(), lambda *size: seen.append(size) or (10, 20, 30, 30), (30, 30)
    )
    assert seen == [(200, 60)]
    assert np.array_equal(found, upright[10:40, 20:50].transpose(2, 0, 1))


def test_without_a_view_or_without_crops_the_image_is_decoded_whole():
    content, policy = encoded(PIXELS, "JPEG"), ImagePolicy(size=32)
    expected = decode(content, policy)
    assert np.array_equal(ImageDecoder(policy, (32, 32), CROPS)(content, 0, None), expected)
    assert np.array_equal(ImageDecoder(policy, (32, 32), None)(content, 0, 7), expected)


def test_the_key_of_views_differs_between_crops_and_whole_images():
    """The bank of a teacher's outputs is named by it."""

    def key(decoding, active=True):
        facts = ImageFacts((0.5,), (0.2,), 0, False, decoding)
        views = ImageInput().augmentations(facts, examples=9, seed=3, count=2, active=active)
        return tuple(views.key)

    crops = ImagePolicy(decode="on_the_fly")
    smaller = ImagePolicy(decode="on_the_fly", crop_scale=(0.08, 0.5))
    assert key(None) == key(crops, active=False) == (0, False, 3)
    assert len({key(None), key(crops), key(smaller)}) == 3

import pytest
import torch

from espalier.data.prepared import read_dataset, read_split
from espalier.inputs.image import ImageAugmentations, Normalize

IMAGES = torch.randint(
    1, 256, (50, 2, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
ALL = torch.arange(50)


def moved(image, down, right):
    """An image moved over a black ground, pixel by pixel."""
    result = torch.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[:, row, column] = image[:, row - down, column - right]
    return result


def found_shift(image, seen, most):
    """By how much `seen` is moved, if it is."""
    places = [(down, right) for down in range(-most, most + 1) for right in range(-most, most + 1)]
    return [place for place in places if torch.equal(moved(image, *place), seen)]


def test_a_view_of_an_example_does_not_depend_on_its_batch():
    views = ImageAugmentations(50, 2, True, seed=7, count=5)
    whole = views.apply(IMAGES, ALL, 3)
    order = torch.randperm(50)
    assert torch.equal(views.apply(IMAGES[order], order, 3), whole[order])
    assert torch.equal(views.apply(IMAGES[11:12], torch.tensor([11]), 3), whole[11:12])
    assert torch.equal(
        ImageAugmentations(50, 2, True, seed=7, count=5).apply(IMAGES, ALL, 3), whole
    )


def test_every_example_is_moved_by_at_most_the_crop_in_each_direction():
    seen = ImageAugmentations(50, 2, False, seed=0, count=9).apply(IMAGES, ALL, 0)
    shifts = [found_shift(image, view, 3) for image, view in zip(IMAGES, seen, strict=True)]
    assert all(len(places) == 1 for places in shifts)
    rows, columns = zip(*(places[0] for places in shifts), strict=True)
    assert set(rows) == set(columns) == {-2, -1, 0, 1, 2}


def test_about_half_of_the_examples_are_mirrored_when_asked_and_none_otherwise():
    seen = ImageAugmentations(50, 0, True, seed=0, count=9).apply(IMAGES, ALL, 0)
    mirrored = [torch.equal(view, image.flip(-1)) for image, view in zip(IMAGES, seen, strict=True)]
    same = [torch.equal(view, image) for image, view in zip(IMAGES, seen, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 15 < sum(mirrored) < 35
    assert torch.equal(
        ImageAugmentations(50, 0, False, seed=0, count=9).apply(IMAGES, ALL, 0), IMAGES
    )


def test_views_differ_and_begin_again_after_the_last():
    views = ImageAugmentations(50, 1, True, seed=0, count=4)
    seen = [views.apply(IMAGES, ALL, view) for view in range(8)]
    for view in range(4):
        assert torch.equal(seen[view], seen[view + 4])
        assert not any(torch.equal(seen[view], seen[other]) for other in range(view))
    assert not torch.equal(
        ImageAugmentations(50, 1, True, seed=1, count=4).apply(IMAGES, ALL, 0), seen[0]
    )


def test_pixels_stay_bytes_and_the_images_given_are_not_written_to():
    before = IMAGES.clone()
    seen = ImageAugmentations(50, 2, True, seed=0, count=1).apply(IMAGES, ALL, 0)
    assert (seen.dtype, seen.shape) == (torch.uint8, IMAGES.shape)
    assert torch.equal(IMAGES, before)


def test_the_normalised_training_split_has_mean_0_and_deviation_1(digits):
    dataset = read_dataset(digits)
    images = dataset.front(torch.device("cpu"))(read_split(digits, "train").inputs).double()
    assert images.dtype == torch.float64
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0], abs=1e-5)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1], abs=1e-5)


def test_each_channel_is_normalised_by_its_own_figures():
    mean, std = (0.2, 0.7), (0.5, 0.25)
    seen = Normalize(mean, std)(IMAGES)
    assert seen.dtype == torch.float32
    for channel in (0, 1):
        expected = (IMAGES[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(seen[:, channel].double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("crop", [0, 1])
def test_the_training_default_of_the_digits_is_reproduced_by_hand(digits, crop):
    images = read_split(digits, "train").inputs[:20]
    seen = ImageAugmentations(20, crop, False, 0, 3).apply(images, torch.arange(20), 1)
    assert all(found_shift(image, view, crop) for image, view in zip(images, seen, strict=True))

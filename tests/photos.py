"""Photographs of many sizes: parts of the two photographs that scikit-learn ships, as people would have them."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

NAMES = ("temple", "flower")


def write_photos(folder: Path, count: int, *, shortest: int = 24, longest: int = 96) -> Path:
    """Write photographs in a folder for each class, most as JPEG, some as PNG or turned by EXIF.

    Args:
        folder: folder to create.
        count: number of photographs of each class.
        shortest: least side in pixels.
        longest: largest side in pixels.
    """
    random = np.random.default_rng(0)
    for name, pixels in zip(NAMES, load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = random.integers(shortest, longest, 2, endpoint=True)
            top = random.integers(0, pixels.shape[0] - height)
            left = random.integers(0, pixels.shape[1] - width)
            photo = Image.fromarray(pixels[top : top + height, left : left + width])
            _save(photo, folder / name, number)
    return folder


def _save(photo: Image.Image, folder: Path, number: int) -> None:
    if number % 5 == 0:
        photo.save(folder / f"{number:05d}.png")
        return
    exif = Image.Exif()
    if number % 5 == 1:
        exif[0x0112] = 6  # taken with the camera held upright
    photo.save(folder / f"{number:05d}.jpg", quality=90, exif=exif)

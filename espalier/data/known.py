"""Known data sets: their classes, and the augmentations that keep an image in its class."""

from dataclasses import dataclass

DIGITS = "digits"
MNIST = "mnist"
FASHION = "fashion-mnist"
CIFAR10 = "cifar10"
CIFAR100 = "cifar100"


@dataclass(frozen=True)
class Known:
    """A known data set.

    Attributes:
        title: class of `torchvision.datasets` that reads it; "" for none.
        folder: folder in which that class keeps the files, below its root.
        crop: pixels by which its images may be shifted and still belong to their class.
        flip: whether they may be mirrored; digits may not.
        classes: names of the classes by label; None if the files hold them.
    """

    title: str
    folder: str
    crop: int
    flip: bool
    classes: tuple[str, ...] | None = None


_DIGITS = tuple(str(digit) for digit in range(10))
_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

KNOWN = {
    DIGITS: Known("", "", 1, False, _DIGITS),
    MNIST: Known("MNIST", "MNIST/raw", 2, False, _DIGITS),
    FASHION: Known("FashionMNIST", "FashionMNIST/raw", 2, True, _CLOTHES),
    CIFAR10: Known("CIFAR10", "cifar-10-batches-py", 4, True, _THINGS),
    CIFAR100: Known("CIFAR100", "cifar-100-python", 4, True),
}

# By the first 16 digits of the SHA-256 of the test labels: the two sets share their file names.
IDX_NAMES = {"ddeff807876a9661": MNIST, "3d0e6c6ea990b53b": FASHION}


def augmentation(name: str, side: int, crop: int, flip: bool | None) -> tuple[int, bool]:
    """Pixels to shift by, and whether to mirror: as requested, else as the data set allows.

    Args:
        name: name of the data set.
        side: shorter side of its images in pixels; an unknown data set is shifted by an eighth.
        crop: requested pixels; -1 for the data set's default.
        flip: requested value; None for the data set's default.
    """
    known = KNOWN.get(name, Known("", "", max(1, side // 8), False))
    return (known.crop if crop < 0 else crop), (known.flip if flip is None else flip)

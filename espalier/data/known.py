"""The data sets that have a name here: their classes, and what training may do to their images."""

from dataclasses import dataclass

DIGITS = "digits"
MNIST = "mnist"
FASHION = "fashion-mnist"
CIFAR10 = "cifar10"
CIFAR100 = "cifar100"


@dataclass(frozen=True)
class Known:
    """A data set with a name.

    Attributes:
        title: The class of `torchvision.datasets` that reads it, which is also the folder that it
            makes; "" for none.
        folder: Where that class keeps the files, below its root.
        crop: Pixels by which its images may be shifted and still be of their class.
        flip: Whether they may be mirrored; no digit may.
        classes: Names by label; None where the files say them.
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

# The first 16 digits of the SHA-256 of the labels of the test split tell the two sets apart that
# share file names.
IDX_NAMES = {"ddeff807876a9661": MNIST, "3d0e6c6ea990b53b": FASHION}


def augmentation(name: str, side: int, crop: int, flip: bool | None) -> tuple[int, bool]:
    """What is asked for, else what suits the data set: pixels to shift by, and whether to mirror.

    Args:
        name: Of the data set.
        side: The shorter side of its images, in pixels; an unknown set is shifted by an eighth of
            it.
        crop: Pixels asked for; -1 for the data set's own.
        flip: What is asked for; None for the data set's own.
    """
    known = KNOWN.get(name, Known("", "", max(1, side // 8), False))
    return (known.crop if crop < 0 else crop), (known.flip if flip is None else flip)

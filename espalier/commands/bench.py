"""`espalier bench`: how fast this machine distils, beside the loops that one would write."""

import sys
import tempfile
from pathlib import Path

from espalier.errors import BadInput
from espalier.measures.device import device_name
from espalier.training.device import default_device
from espalier.upkeep.training_speed import PLAIN, DistillationSpeed


def run(rounds: int = 3) -> None:
    """Print seconds and speed of each way, for an epoch of ResNet-56 teaching ResNet-20.

    Args:
        rounds: number of epochs of each way; the median counts.

    Raises:
        BadInput: if there is no round.
    """
    if rounds < 1:
        raise BadInput(f"Expected `--rounds` of at least 1; found {rounds}.")
    print(f"ResNet-56 teaches ResNet-20 on {device_name(default_device())}; some minutes.")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        seconds = DistillationSpeed(Path(folder)).seconds(rounds)
    lines = [
        f"{name:12} {taken:8.2f} s an epoch  {seconds[PLAIN] / taken:5.2f}x\n"
        for name, taken in seconds.items()
    ]
    sys.stdout.writelines(lines)

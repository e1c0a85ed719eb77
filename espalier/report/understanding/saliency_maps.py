"""Where several networks look in the same images, as it is kept in a file."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from espalier import files
from espalier.errors import BadInput

Map = list[list[int]]


@dataclass(frozen=True)
class Look:
    """Where one network looks.

    Attributes:
        layer: That was asked; empty if the network has none with places.
        answers: Of the model to each image that is shown, or -1.
        maps: For each image (h, w) numbers from 0 to 255, the most that is anywhere in it, or None if there is no map.
        agreement: The mean rank correlation with the first network's maps, of the images that are compared; None if
            there is nothing to correlate.
    """

    layer: str
    answers: list[int]
    maps: list[Map | None]
    agreement: float | None = None


@dataclass(frozen=True)
class Looks:
    """Where several networks look in the same test images.

    Attributes:
        examples: The places of the images that are shown in the test split.
        labels: What they are.
        compared: How many images the agreement is of: others than these, where there are some.
        models: By name, the one that the others are held against first.
    """

    examples: list[int]
    labels: list[int]
    compared: int
    models: dict[str, Look]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        files.write(path, _LOOKS.dump_json(self) + b"\n")

    @classmethod
    def read(cls, path: Path) -> "Looks | None":
        """Read it back; None if nothing was written.

        Raises:
            BadInput: If it is something else.
        """
        if not path.is_file():
            return None
        try:
            return _LOOKS.validate_json(path.read_bytes())
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise BadInput(
                f"{path} should be as `espalier evaluate` writes it. Found at `{where}`: {error.errors()[0]['msg']}."
            ) from None


_LOOKS = TypeAdapter(Looks)

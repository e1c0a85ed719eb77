"""Images and clips, decoded in a process of `espalier.limited`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.decoders import clips, images
from espalier.errors import BadInput
from espalier.limited.messages import NOTHING, Answers, Fields, Message
from espalier.settings.images import ImagePolicy
from espalier.settings.limits import PIXEL_BYTES

_Decode = Callable[[bytes], Message]


def decode_images() -> Answers:
    """Requests have the fields `sizes` and `policy`; answers are pixels, with `remarks`."""
    return _images


def decode_clips() -> Answers:
    """Requests have the field `sizes`; answers are samples, with their `rate`."""
    return _clips


def _images(
    fields: Fields, contents: NDArray[np.uint8], allow: Callable[[int], None]
) -> Iterator[Message]:
    policy = _policy(fields["policy"])
    memory: int = fields["memory"]

    def decode(content: bytes) -> Message:
        remarks: list[str] = []
        allow(memory)
        pixels = images.decode(content, policy, remarks.append, allow_pixels)
        return {"remarks": remarks}, pixels

    def allow_pixels(count: int) -> None:
        if PIXEL_BYTES * count > memory:
            allow(PIXEL_BYTES * count)

    return _answers(decode, fields["sizes"], contents)


def _policy(given: dict[str, Any]) -> ImagePolicy:
    """The policy from JSON, which has lists for tuples."""
    keys: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in given.items()
    }
    return ImagePolicy(**keys)


def _clips(
    fields: Fields, contents: NDArray[np.uint8], allow: Callable[[int], None]
) -> Iterator[Message]:
    del allow

    def decode(content: bytes) -> Message:
        clip = clips.decode(content)
        return {"rate": clip.rate}, clip.samples

    return _answers(decode, fields["sizes"], contents)


def _answers(decode: _Decode, sizes: list[int], contents: NDArray[np.uint8]) -> Iterator[Message]:
    """An answer for each file: its content, or the reason why it is `unreadable`.

    A file that exceeds the memory has the field `exceeded`.

    Args:
        decode: decoder of one file.
        sizes: sizes of the files in bytes.
        contents: all files, one after another.
    """
    start = 0
    for size in sizes:
        yield _answer(decode, contents[start : start + size].tobytes())
        start += size


def _answer(decode: _Decode, content: bytes) -> Message:
    try:
        return decode(content)
    except BadInput:  # of a library that is not installed, say: no fault of the file
        raise
    except ValueError as error:
        return {"unreadable": str(error)}, NOTHING
    except MemoryError:
        return {"exceeded": True}, NOTHING

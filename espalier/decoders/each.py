"""Many images or clips, decoded in a few processes with limits, in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espalier.decoders.clips import Clip
from espalier.errors import TryAgain
from espalier.limited import Limits, ProcessFailed, borrow, give_back
from espalier.limited.messages import Fields
from espalier.processors import available_processors
from espalier.settings.images import ImagePolicy
from espalier.settings.limits import CLIP_EXPANSION, IMAGE_EXPANSION, decoding_memory

_PROCESSES = 4  # at most
_FILES = 64  # of a request
_BYTES = 2**20  # of a request, but for a larger file


@dataclass(frozen=True)
class _Job:
    """The way in which files of a kind are decoded.

    Attributes:
        function: name of the function of `espalier.decoders.answers`.
        seconds: largest time for a file.
        fields: fields of every request.
        example_of: gives the example for the fields and the array of an answer.
        expansion: bytes of memory for each byte of a large file.
    """

    function: str
    seconds: float
    fields: Fields
    example_of: Callable[[Fields, NDArray[Any]], Any]
    expansion: int

    @property
    def place(self) -> str:
        """The place of the function."""
        return f"{__package__}.answers:{self.function}"


@dataclass(frozen=True)
class Outcome:
    """A file that was decoded, or why it was not.

    Attributes:
        example: pixels (C, H, W) uint8 of an image, or a clip.
        remarks: changes of an image that its user may want to know of.
        unreadable: reason, without a full stop; empty for a file that was decoded.
        failed: whether its process crashed or took too long, which costs more than a refusal.
    """

    example: Any = None
    remarks: Sequence[str] = ()
    unreadable: str = ""
    failed: bool = False


def decode_images(
    contents: Iterable[bytes], policy: ImagePolicy, seconds: float
) -> Iterator[Outcome]:
    """The pixels of encoded images, in their order.

    Args:
        contents: the images.
        policy: form that they are brought into.
        seconds: largest time for one image.

    Raises:
        BadInput: if a library is not installed.
        TryAgain: if a process is killed from elsewhere.
    """
    fields = {"policy": asdict(policy)}
    job = _Job("decode_images", seconds, fields, lambda _, pixels: pixels, IMAGE_EXPANSION)
    return _decode(contents, job)


def decode_clips(contents: Iterable[bytes], seconds: float) -> Iterator[Outcome]:
    """Encoded clips, in their order; arguments and errors as of `decode_images`."""
    return _decode(contents, _Job("decode_clips", seconds, {}, _clip, CLIP_EXPANSION))


def _clip(fields: Fields, samples: NDArray[np.int16]) -> Clip:
    return Clip(samples, fields["rate"])


def _decode(contents: Iterable[bytes], job: _Job) -> Iterator[Outcome]:
    """Decode files in as many processes as there are processors, up to a few."""
    most = min(_PROCESSES, max(2, available_processors()))
    requests: deque[_Request] = deque()
    try:
        for batch in _batches(contents):
            if len(requests) == most:
                yield from requests[0].outcomes()
                requests.popleft()
            requests.append(_Request(batch, job))
        while requests:
            yield from requests[0].outcomes()
            requests.popleft()
    finally:
        for request in requests:  # that were not answered completely
            request.process.close()


def _batches(contents: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    held = 0
    for content in contents:
        batch.append(content)
        held += len(content)
        if len(batch) == _FILES or held > _BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


class _Request:
    """Some files that a process decodes; the next process takes over those after a file that ends it."""

    def __init__(self, contents: Sequence[bytes], job: _Job) -> None:
        self._contents, self._job = contents, job
        memory = decoding_memory(max(map(len, contents)), job.expansion)
        self._limits = Limits(memory, job.seconds)
        self._start(0)

    def outcomes(self) -> Iterator[Outcome]:
        """The outcome of each file."""
        count = len(self._contents)
        for number in range(1, count + 1):
            outcome = self._receive()
            yield outcome
            if outcome.failed and number < count:
                self._start(number)
        if not outcome.failed:
            give_back(self.process)

    def _start(self, first: int) -> None:
        """Send the files from a first one on to a process."""
        contents = self._contents[first:]
        joined = np.frombuffer(b"".join(contents), np.uint8)
        self.process = borrow(self._job.place)
        try:
            self.process.send(
                self._limits, joined, sizes=list(map(len, contents)), **self._job.fields
            )
        except ProcessFailed:
            self.process.close()
            raise killed() from None

    def _receive(self) -> Outcome:
        try:
            fields, values = self.process.receive()
        except ProcessFailed as failure:
            self.process.close()
            if failure.cause == "killed":
                raise killed() from None
            return Outcome(unreadable=explained(failure, self._limits), failed=True)
        if "exceeded" in fields:
            return Outcome(unreadable=explained(ProcessFailed("memory"), self._limits))
        if "unreadable" in fields:
            return Outcome(unreadable=str(fields["unreadable"]))
        return Outcome(self._job.example_of(fields, values), fields.get("remarks", ()))


def explained(failure: ProcessFailed, limits: Limits) -> str:
    """The reason why a file was not decoded, for the end of a sentence."""
    if failure.cause == "memory":
        return f"its decoder needs more than {limits.memory // 2**20:,} MB of memory"
    if failure.cause == "seconds":
        return f"its decoder took more than {limits.seconds:g} s, `data.decode_seconds`"
    return f"its decoder ended with {failure.ending}"


def killed() -> TryAgain:
    """The error of a process that ended for no reason in its files."""
    return TryAgain(
        "Expected the process that decodes files to run until it is ended; found it killed, as by a "
        "system without free memory."
    )

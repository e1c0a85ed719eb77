"""Deployed files that are open in the process in which `espalier.runtimes.guarded` runs them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from numpy.typing import NDArray

from espalier.limited.messages import Fields, Message
from espalier.runtimes.runtime import OpenModel


class OpenedFile:
    """The file that was run last; another one takes its place."""

    def __init__(self, opener: str, threads: str) -> None:
        """Open nothing yet.

        Args:
            opener: `package.module:name` of a function that opens a file for a number of threads.
            threads: number of threads.
        """
        self._opener, self._threads = resolve_name(opener), int(threads)
        self._file = ""
        self._model: OpenModel | None = None

    def __call__(
        self, fields: Fields, inputs: NDArray[Any], allow: Callable[[int], None]
    ) -> Iterator[Message]:
        """The outputs for a batch of inputs of the file that the fields name."""
        del allow
        yield {}, self._opened(fields["file"]).run(inputs)

    def _opened(self, file: str) -> OpenModel:
        if self._model is None or file != self._file:
            self._model = None  # its memory is free before the next file is opened
            opened: OpenModel = self._opener(Path(file), self._threads)
            self._model, self._file = opened, file
        return self._model

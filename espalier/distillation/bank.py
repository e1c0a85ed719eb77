"""The teacher's answers to every view of the training split, computed once for all students and prune cycles."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import safetensors.torch
import torch
from torch import Tensor

from espalier import files
from espalier.reading import reading
from espalier.training.process_group import ProcessGroup

_SUFFIX = ".safetensors"
_LARGEST = torch.finfo(
    torch.float16
).max  # a logit beyond it is as certain; an infinite one would spoil the loss


class TeacherOutputs(Protocol):
    """The outputs of a teacher to every view of the training split."""

    def view(self, number: int) -> Tensor:
        """The outputs (N, width) float32 for one view of all examples, in their order."""


class Bank:
    """Logits (N, classes) by view, kept in half precision in a folder named by what they depend on.

    Whether an answer comes from the folder or is computed now, it went through half precision: the
    same bits.
    """

    def __init__(
        self,
        folder: Path,
        answer: Callable[[int], Tensor],
        processes: ProcessGroup | None = None,
    ) -> None:
        """Keep in `folder` what `answer(view)` computes, in several processes if they are given."""
        self.folder, self._answer, self._processes = folder, answer, processes
        self._held: tuple[int, Tensor] | None = None

    def view(self, number: int) -> Tensor:
        """The teacher's logits (N, classes) float32 for one view of all examples, in their order."""
        if self._held is None or self._held[0] != number:
            self._held = (number, self._fetch(number).float())
        return self._held[1]

    def missing(self, views: int) -> int:
        """How many of the first `views` views are not in the folder."""
        present = [any(self.folder.glob(f"{_stem(view)}-*{_SUFFIX}")) for view in range(views)]
        return present.count(False)

    def _fetch(self, number: int) -> Tensor:
        kept = self._read(number)
        # another run may write it after one process has looked, and before another; all answer then
        is_missing = kept is None
        if self._processes is not None:
            is_missing = self._processes.in_any(is_missing)
        if kept is not None and not is_missing:
            return kept
        logits = (
            self._answer(number).clamp(-_LARGEST, _LARGEST).to(torch.float16).cpu().contiguous()
        )
        if not self._processes or self._processes.rank == 0:
            content = safetensors.torch.save({"logits": logits})
            files.write_hashed(self.folder, _stem(number), _SUFFIX, content)
        return logits

    def _read(self, number: int) -> Tensor | None:
        """The logits from the folder; None if it has none of this view."""
        for path in files.find_hashed(self.folder, _stem(number), _SUFFIX):
            with reading(path, "outputs of a teacher, which can be deleted"):
                kept: Tensor = safetensors.torch.load_file(path)["logits"]
                return kept
        return None


def _stem(view: int) -> str:
    return f"view-{view:04d}"

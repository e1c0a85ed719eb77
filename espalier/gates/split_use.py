"""Use of a test split: how many models were judged on it, and how often it has decided a promotion."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from espalier import files
from espalier.errors import BadInput
from espalier.paths import SPLIT_USES, STATE

_SHORT = 12  # digits of a hash that are shown


@dataclass(frozen=True)
class SplitUse:
    """Use of a test split for one registered model, by the records of its store.

    Attributes:
        registered_model: name of the registered model.
        sha256: SHA-256 of the file of the split.
        candidates: number of candidates of this judgement.
        models: number of different models in this judgement and in all recorded ones on the split.
        promotions: number of finished promotions that the split decided before this judgement.
        unknown: number of finished promotions without a record of their split.
        when: time of this judgement, in seconds since 1970.
    """

    registered_model: str
    sha256: str
    candidates: int
    models: int
    promotions: int
    unknown: int
    when: float = field(default_factory=time.time)

    def __str__(self) -> str:
        """The use in a sentence."""
        older = f", and {self.unknown} older promotions record none" if self.unknown else ""
        return (
            f"Test split {self.sha256[:_SHORT]}: candidates judged now {self.candidates}, models "
            f"judged so far {self.models}, promotions of {self.registered_model} decided before "
            f"{self.promotions}{older}"
        )


_USES = TypeAdapter(dict[str, SplitUse])


def record_use(root: Path, use: SplitUse) -> None:
    """Keep the use of a split for the page of the report."""
    uses = {**_recorded(root), use.sha256: use}
    files.write_json(root / STATE / SPLIT_USES, _USES.dump_python(uses))


def recorded_use(root: Path, sha256: str) -> SplitUse | None:
    """The use of a split at the last promotion from this project; None if there was none.

    Args:
        root: the project.
        sha256: SHA-256 of the file of the split.
    """
    return _recorded(root).get(sha256)


def _recorded(root: Path) -> dict[str, SplitUse]:
    """The kept uses, by the hash of the split; empty for a missing or damaged file, which the store outlives."""
    path = root / STATE / SPLIT_USES
    try:
        return _USES.validate_python(files.read_json(path))
    except (BadInput, ValidationError):
        return {}

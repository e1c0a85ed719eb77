"""The schema of `mlflow/gates.yaml`: the gates of each alias, and the choice among passing models."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from espalier.errors import BadInput
from espalier.params.strict import Strict
from espalier.yaml_files import read_yaml

_HOLM = "holm"
RESERVED = ("latest", "previous")  # MLflow's own, and the alias of the last champion
_ALIAS = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Gates(Strict):
    """Bounds on a candidate. A bound is checked only if it is given.

    A figure that is missing or not finite passes no gate.

    Attributes:
        examples: smallest number of test examples; with few, a margin means little.
        drop: largest mean score lost against the teacher, by the upper bound of the 95 % interval.
        champion_drop: largest mean score lost against the version that the alias points to now, by
            the same bound; passed if there is none.
        worst_class_drop: largest mean score lost against the teacher in the class that lost most,
            corrected for the number of classes.
        head_drops: largest score lost against the teacher in a head, by its name and the same
            bound; each head is held to its own margin.
        bytes: largest size of the deployed file.
        bytes_ratio: largest ratio of that size to the teacher's.
        latency_ratio: largest ratio of the latency at batch 1 to the teacher's, by the upper end of
            the noise band.
        memory: largest number of bytes in use while the deployed file runs.
        torch_agreement: smallest fraction of examples to which the deployed file and the torch
            network give the same answer.
        device: device of the latencies, as the column `device` of the reports names it; by default
            that of the version that the alias points to now.
    """

    examples: int | None = Field(None, ge=1)
    drop: float | None = Field(None, ge=-1, le=1)
    champion_drop: float | None = Field(None, ge=-1, le=1)
    worst_class_drop: float | None = Field(None, ge=-1, le=1)
    head_drops: dict[str, Annotated[float, Field(ge=-1, le=1)]] | None = None
    bytes: int | None = Field(None, ge=1)
    bytes_ratio: float | None = Field(None, gt=0)
    latency_ratio: float | None = Field(None, gt=0)
    memory: int | None = Field(None, ge=1)
    torch_agreement: float | None = Field(None, ge=0, le=1)
    device: str | None = Field(None, min_length=1)


class Policy(Strict):
    """The policy of an alias.

    Attributes:
        choose: preference among passing candidates: the smallest file, the lowest latency at batch
            1, or the highest mean score; the other two break ties, in this order.
        candidates: entries that are judged; if empty, every entry but the teacher. The word `holm`
            instead of a list stands for all of them with `correction: holm`.
        correction: correction of the bounds of drops for the number of candidates: none, so that
            each candidate has the error of a single test, or `espalier.judging.holm`.
        reuse_warning: number of promotions that one test split may decide before a warning.
        gates: bounds that a candidate must satisfy.
    """

    choose: Literal["smallest", "fastest", "most_accurate"] = "smallest"
    candidates: tuple[str, ...] = ()
    correction: Literal["none", "holm"] = "none"
    reuse_warning: int = Field(20, ge=1)
    gates: Gates = Gates()

    @model_validator(mode="before")
    @classmethod
    def _corrected_candidates(cls, given: Any) -> Any:
        """Read `candidates: holm` as all candidates with `correction: holm`."""
        if isinstance(given, dict) and given.get("candidates") == _HOLM:
            return {**given, "candidates": (), "correction": _HOLM}
        return given


_POLICIES = TypeAdapter(dict[str, Policy])


def read_policies(path: Path) -> dict[str, Policy]:
    """Read the policy of each alias.

    Raises:
        BadInput: if the file is missing or not YAML, or has an unknown key or a wrong value.
    """
    if not path.exists():
        raise BadInput(f"Expected {path} to hold the gates of each alias; found nothing there.")
    content, _ = read_yaml(path)
    try:
        policies = _POLICIES.validate_python(content)
    except ValidationError as error:
        raise BadInput(_sentence(error, path)) from None
    for alias in policies:
        _check_alias(alias, path)
    return policies


def _sentence(error: ValidationError, path: Path) -> str:
    """The first error in one sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        section = Gates if ".gates." in f".{where}" else Policy
        known = ", ".join(section.model_fields)
        return f"Expected `{where}` in {path} to be among {known}; found an unknown key."
    reason = f"{first['msg'][0].lower()}{first['msg'][1:]}"
    return f"Expected `{where}` in {path} to be valid: {reason}; found {first['input']!r}."


def _check_alias(alias: str, path: Path) -> None:
    """Refuse a name that MLflow refuses or uses itself."""
    reserved = re.fullmatch(r"v\d+", alias) or alias in RESERVED
    if reserved or not _ALIAS.fullmatch(alias):
        raise BadInput(
            f"Expected an alias in {path} to be lower-case letters, digits, '-' and '_', and none of "
            f"{', '.join(RESERVED)}; found {alias!r}."
        )

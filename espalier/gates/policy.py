"""The schema of `mlflow/gates.yaml`: for each alias, what a model must be to bear it, and which of those that are."""

import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from espalier.errors import BadInput
from espalier.params.strict import Strict

_ALIAS = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Gates(Strict):
    """Bounds, each of which is checked only if it is given.

    A figure that is missing or no number passes none.

    Attributes:
        examples: At least so many test examples: with fewer, a margin means little.
        drop: At most this much accuracy lost against the teacher, by the upper bound of the 95 %
            interval.
        champion_drop: Likewise against the model that bears the alias now; passed where none does.
        worst_class_drop: Likewise for the class that lost most against the teacher, corrected for
            their number.
        bytes: At most so many in the deployed file.
        bytes_ratio: At most this part of the teacher's.
        latency_ratio: At most this part of the teacher's time at batch 1, by the upper end of the
            noise band.
        memory: At most so many bytes in use while it answers.
        torch_agreement: The deployed file gives the torch network's answer to at least this part of
            the examples.
    """

    examples: int | None = Field(None, ge=1)
    drop: float | None = Field(None, ge=-1, le=1)
    champion_drop: float | None = Field(None, ge=-1, le=1)
    worst_class_drop: float | None = Field(None, ge=-1, le=1)
    bytes: int | None = Field(None, ge=1)
    bytes_ratio: float | None = Field(None, gt=0)
    latency_ratio: float | None = Field(None, gt=0)
    memory: int | None = Field(None, ge=1)
    torch_agreement: float | None = Field(None, ge=0, le=1)


class Policy(Strict):
    """Who may bear an alias.

    Attributes:
        choose: Of those that pass, the one with the smallest file, the shortest time at batch 1, or
            the most right answers; the other two decide between equals, in this order.
        candidates: Entries that may bear it; empty, every entry but the teacher.
        gates: What they must be.
    """

    choose: Literal["smallest", "fastest", "most_accurate"] = "smallest"
    candidates: tuple[str, ...] = ()
    gates: Gates = Gates()


_POLICIES = TypeAdapter(dict[str, Policy])


def read_policies(path: Path) -> dict[str, Policy]:
    """Read a policy for each alias.

    Raises:
        BadInput: If the file is missing or no YAML, or has an unknown key or a wrong value; one
            sentence names it.
    """
    try:
        policies = _POLICIES.validate_python(yaml.safe_load(path.read_text()) or {})
    except FileNotFoundError:
        raise BadInput(
            f"Expected {path} to hold the gates of each alias; found nothing there."
        ) from None
    except yaml.YAMLError as error:
        raise BadInput(
            f"Expected {path} to be YAML; found {' '.join(str(error).split())}"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(
                Gates.model_fields if ".gates." in f".{where}" else Policy.model_fields
            )
            raise BadInput(
                f"Expected `{where}` in {path} to be among {known}; found an unknown key."
            ) from None
        reason = f"{first['msg'][0].lower()}{first['msg'][1:]}"
        raise BadInput(
            f"Expected `{where}` in {path} to be valid: {reason}; found {first['input']!r}."
        ) from None
    for alias in policies:
        if not _ALIAS.fullmatch(alias) or re.fullmatch(r"v\d+", alias) or alias == "latest":
            raise BadInput(
                f"Expected an alias in {path} to be lower-case letters, digits, '-' and '_'; found "
                f"{alias!r}."
            )
    return policies

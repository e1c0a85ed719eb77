"""Files of explanations: what an evaluation found, as JSON for the page."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from espalier import files
from espalier.errors import BadInput, first_problem
from espalier.settings.limits import JSON_BYTES

Explanation = TypeVar("Explanation")


def read_explanation(path: Path, adapter: TypeAdapter[Explanation]) -> Explanation | None:
    """Read an explanation; None if there is no file.

    Args:
        path: file that `espalier evaluate` has written.
        adapter: schema of its content.

    Raises:
        BadInput: if the file holds something else.
    """
    if not path.is_file():
        return None
    try:
        return adapter.validate_json(files.read_bounded(path, JSON_BYTES))
    except ValidationError as error:
        place, problem = first_problem(error)
        raise BadInput(
            f"Expected {path} as `espalier evaluate` writes it; found at `{place}`: "
            f"{problem}. Run `espalier evaluate` again."
        ) from None

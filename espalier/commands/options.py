"""Options of commands that hold a mapping in YAML."""

from typing import Any

from espalier.errors import BadInput
from espalier.yaml_files import parse_yaml


def mapping(option: str, text: str | None) -> dict[str, Any]:
    """The content of an option; empty if it is not given.

    Args:
        option: name of the option, for messages.
        text: its value, such as `{depth: 20}`.

    Raises:
        BadInput: if it is no mapping in YAML.
    """
    content = parse_yaml(text, option) if text else {}
    if not isinstance(content, dict):
        raise BadInput(
            f"Expected {option} to be a mapping in YAML, such as '{{depth: 20}}'; found {text!r}."
        )
    return content

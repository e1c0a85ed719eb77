"""The policy of an alias, by `mlflow/gates.yaml`."""

from pathlib import Path

from espalier.errors import BadInput
from espalier.gates import Policy, read_policies
from espalier.paths import GATES


def read_policy(root: Path, alias: str) -> Policy:
    """The policy of one alias.

    Raises:
        BadInput: If the file is invalid, or has no policy of the alias.
    """
    policies = read_policies(root / GATES)
    if alias not in policies:
        raise BadInput(
            f"Expected an alias with gates in {GATES}: {', '.join(policies)}; found {alias!r}."
        )
    return policies[alias]

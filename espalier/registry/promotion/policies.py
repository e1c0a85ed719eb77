"""The policy of an alias, by `mlflow/gates.yaml`."""

from collections.abc import Collection
from pathlib import Path

from espalier.errors import BadInput
from espalier.gates import Policy, read_policies
from espalier.paths import GATES, PARAMS


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


def refuse_entries(aliases: Collection[str], entries: Collection[str]) -> None:
    """Refuse gates for the alias of an entry, which points to the newest version of the entry.

    Raises:
        BadInput: if there are some.
    """
    both = sorted(set(aliases) & set(entries))
    if both:
        raise BadInput(
            f"Expected the aliases in {GATES} to be none of the entries of {PARAMS}, whose own aliases "
            f"point to their newest versions; found {both[0]!r}: rename the alias."
        )

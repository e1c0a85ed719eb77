"""The names in the policy, beside those of the entries."""

from collections.abc import Collection, Mapping

from espalier.errors import BadInput
from espalier.gates.policy import Policy
from espalier.paths import GATES, PARAMS


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


def refuse_unknown_candidates(policy: Policy, entries: Collection[str]) -> None:
    """Refuse candidates that are no entries.

    Raises:
        BadInput: if there are some.
    """
    unknown = sorted(set(policy.candidates) - set(entries))
    if unknown:
        raise BadInput(
            f"Expected `candidates` of {GATES} to be entries of {PARAMS}: {', '.join(entries)}; found "
            f"{unknown[0]!r}."
        )


def check_names(policies: Mapping[str, Policy], entries: Collection[str]) -> None:
    """Refuse policies that name entries wrongly.

    Args:
        policies: policy of each alias.
        entries: names of all entries.

    Raises:
        BadInput: if an alias is the name of an entry, or a candidate is none.
    """
    refuse_entries(policies, entries)
    for policy in policies.values():
        refuse_unknown_candidates(policy, entries)

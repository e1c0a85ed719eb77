"""The candidates of an alias: models that answer the same classes."""

from collections.abc import Mapping

from espalier.errors import BadInput
from espalier.gates.policy import Policy


def candidates_of(classes: Mapping[str, str], policy: Policy) -> tuple[str, ...]:
    """Candidates of a policy: the entries that it names, else all that answer all classes of the data.

    A model of fewer classes has an easier question, so that its figures and those of the others
    say nothing about each other, and an alias that moves from one to the other changes its outputs.

    Args:
        classes: classes that each entry answers, in words; empty for all classes of the data. If
            the policy names entries, of these.
        policy: policy of the alias.

    Raises:
        BadInput: if the policy names entries of different classes, or names none and no entry
            answers all classes.
    """
    if policy.candidates:
        named = {name: classes[name] for name in policy.candidates if name in classes}
        _check_same(named)
        return tuple(named)
    found = tuple(name for name, words in classes.items() if not words)
    if classes and not found:
        raise BadInput(
            "Expected an entry that answers all classes of the data, because the policy names no "
            f"`candidates`; found only {', '.join(classes)}, which answer some. Name them under "
            "`candidates`."
        )
    return found


def _check_same(named: Mapping[str, str]) -> None:
    if len(set(named.values())) > 1:
        first, *others = named
        other = next(name for name in others if named[name] != named[first])
        words = [named[name] or "all classes" for name in (first, other)]
        raise BadInput(
            f"Expected the `candidates` of an alias to answer the same classes; found {first!r} "
            f"({words[0]}) and {other!r} ({words[1]})."
        )

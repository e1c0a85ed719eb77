"""The candidates that the gates of each alias would choose, by the metrics of the table."""

from espalier.errors import BadInput
from espalier.gates import (
    Figures,
    Gates,
    Policy,
    Verdict,
    candidates_of,
    choose,
    judge,
    read_policies,
)
from espalier.paths import GATES, TEACHER
from espalier.report.page.contents import Contents

# switched off here: they need the torch network, or the registry
_NOT_HERE = {"torch_agreement": None, "champion_drop": None}
_ALWAYS = ("finite", "data")  # gates that no policy can switch off


def verdicts(contents: Contents, policy: Policy) -> dict[str, list[Verdict]]:
    """The verdicts on each candidate that the table holds.

    Raises:
        BadInput: if the candidates answer different classes.
    """
    asked = policy.gates.model_copy(update=_NOT_HERE)
    rows = contents.rows.items()
    classes = {
        name: row.get("classes", "")
        for name, row in rows
        if name in policy.candidates or (not policy.candidates and name != TEACHER)
    }
    return {
        name: _judged(asked, _figures(contents, name)) for name in candidates_of(classes, policy)
    }


def passing(found: dict[str, list[Verdict]]) -> list[str]:
    """The candidates that pass all of their gates."""
    return [name for name, row in found.items() if all(one.passed for one in row)]


def chosen(contents: Contents, policy: Policy) -> str | None:
    """The passing candidate that the policy prefers; None if there is none.

    Raises:
        BadInput: if the candidates answer different classes.
    """
    names = passing(verdicts(contents, policy))
    if not names:
        return None
    return choose(policy.choose, {name: _figures(contents, name) for name in names})


def aliases(contents: Contents) -> dict[str, list[str]]:
    """The aliases that would go to each model; none where the policy is wrong."""
    try:
        policies = read_policies(contents.root / GATES)
    except BadInput:
        return {}
    found: dict[str, list[str]] = {}
    for alias, policy in policies.items():
        try:
            name = chosen(contents, policy)
        except BadInput:
            continue
        if name is not None:
            found.setdefault(name, []).append(alias)
    return found


def _judged(asked: Gates, figures: Figures) -> list[Verdict]:
    """The verdicts of the policy's gates, then of the gates that no policy can switch off."""
    found = judge(asked, figures)
    of_policy = [one for one in found if one.gate.partition(".")[0] in Gates.model_fields]
    return of_policy + [one for one in found if one.gate in _ALWAYS]


def _figures(contents: Contents, name: str) -> Figures:
    rows = contents.rows
    return Figures.of(
        rows[name],
        rows[TEACHER],
        headline="score",
        data=str(contents.lineage(name).get("data", "")),
        current_data=contents.conditions["data"],
    )

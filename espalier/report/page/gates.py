"""The verdicts of the gates on the metrics of the table."""

from espalier.errors import BadInput
from espalier.gates import Figures, Gates, Policy, Verdict, judge, read_policies
from espalier.paths import GATES, TEACHER
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag

# switched off here: they need the torch network, or the registry
_NOT_HERE = {"torch_agreement": None, "champion_drop": None}
_ALWAYS = ("finite", "data")  # gates that no policy can switch off


def gates(contents: Contents) -> Markup:
    """A table per alias. A wrong policy is shown as its message, and does not stop the report."""
    explanation = join((
        f"The policy of {GATES}, as it was when this page was written, applied to the metrics "
        "above. This table decides nothing: ",
        tag("code", "espalier promote"),
        " does. It also verifies the files of the version, compares with the current champion on "
        "the same examples, and compares the deployed file with the torch network.",
    ))  # fmt: skip
    try:
        policies = read_policies(contents.root / GATES)
    except BadInput as error:
        return section("gates", "Gates", explanation, tag("p", error, class_="warn"))
    tables = (_table(contents, alias, policy) for alias, policy in policies.items())
    return section("gates", "Gates", explanation, *tables)


def _table(contents: Contents, alias: str, policy: Policy) -> Markup:
    """The candidates of one alias, with a column per gate."""
    verdicts = _verdicts(contents, policy)
    first = next(iter(verdicts.values()), [])
    heads = tag("tr", tag("th", "candidate"), *(_head(verdict) for verdict in first))
    rows = join(_row(name, row) for name, row in verdicts.items())
    passing = [name for name, row in verdicts.items() if all(one.passed for one in row)]
    conclusion = f"Candidates that pass these gates: {', '.join(passing) or 'none'}."
    title = f"{alias}: {policy.choose.replace('_', ' ')} of the candidates that pass"
    return tag("div", tag("h3", title), scrolled(table(heads, rows)), tag("p", conclusion))


def _verdicts(contents: Contents, policy: Policy) -> dict[str, list[Verdict]]:
    """The verdicts on each candidate that the table holds."""
    asked = policy.gates.model_copy(update=_NOT_HERE)
    others = tuple(name for name in contents.rows if name != TEACHER)
    candidates = policy.candidates or others
    return {
        name: _judged(asked, _figures(contents, name))
        for name in candidates
        if name in contents.rows
    }


def _judged(asked: Gates, figures: Figures) -> list[Verdict]:
    """The verdicts of the policy's gates, then of the gates that no policy can switch off."""
    verdicts = judge(asked, figures)
    chosen = [one for one in verdicts if one.gate in Gates.model_fields]
    return chosen + [one for one in verdicts if one.gate in _ALWAYS]


def _figures(contents: Contents, name: str) -> Figures:
    data = str(contents.lineage(name).get("data", ""))
    current = contents.conditions["data"]
    rows = contents.rows
    return Figures.of(rows[name], rows[TEACHER], headline="score", data=data, current_data=current)


def _head(verdict: Verdict) -> Markup:
    gate = verdict.gate.replace("_", " ")
    return tag("th", gate, tag("span", verdict.should, class_="range"), class_="words")


def _row(name: str, verdicts: list[Verdict]) -> Markup:
    head = tag("th", name, scope="row", title=name)
    return tag("tr", head, *(_cell(one) for one in verdicts), data_model=name)


def _cell(verdict: Verdict) -> Markup:
    outcome = "passed" if verdict.passed else "refused"
    return tag("td", verdict.found, class_=f"words {outcome}", title=verdict.gate)

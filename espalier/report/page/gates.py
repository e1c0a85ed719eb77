"""The verdicts of the gates on the metrics of the table."""

from espalier.errors import BadInput
from espalier.gates import Policy, Verdict, read_policies
from espalier.paths import GATES
from espalier.report.page.chosen import chosen, passing, verdicts
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag


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
    title = f"{alias}: {policy.choose.replace('_', ' ')} of the candidates that pass"
    try:
        found = verdicts(contents, policy)
    except BadInput as error:
        return tag("div", tag("h3", title), tag("p", error, class_="warn"))
    first = next(iter(found.values()), [])
    heads = tag("tr", tag("th", "candidate"), *(_head(verdict) for verdict in first))
    rows = join(_row(name, row) for name, row in found.items())
    names, best = passing(found), chosen(contents, policy)
    conclusion = f"Candidates that pass these gates: {', '.join(names) or 'none'}."
    if best is not None:
        conclusion += f" Of these {best} is chosen."
    return tag("div", tag("h3", title), scrolled(table(heads, rows)), tag("p", conclusion))


def _head(verdict: Verdict) -> Markup:
    gate = verdict.gate.replace("_", " ")
    return tag("th", gate, tag("span", verdict.should, class_="range"), class_="words")


def _row(name: str, verdicts: list[Verdict]) -> Markup:
    head = tag("th", name, scope="row", title=name)
    return tag("tr", head, *(_cell(one) for one in verdicts), data_model=name)


def _cell(verdict: Verdict) -> Markup:
    outcome = "passed" if verdict.passed else "refused"
    return tag("td", verdict.found, class_=f"words {outcome}", title=verdict.gate)

"""The verdicts of the gates on the metrics of the table."""

from datetime import UTC, datetime

from espalier.data.names import TEST
from espalier.data.prepared import file_name
from espalier.errors import BadInput
from espalier.gates import Policy, SplitUse, Verdict, read_policies, recorded_use
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
    split = contents.dataset.files.get(file_name(TEST), "")
    use = recorded_use(contents.root, split)
    tables = (_table(contents, alias, policy) for alias, policy in policies.items())
    limit = min((policy.reuse_warning for policy in policies.values()), default=0)
    return section("gates", "Gates", explanation, _reuse(split, use, limit), *tables)


def _reuse(split: str, use: SplitUse | None, limit: int) -> Markup:
    """How often the test split has decided, as far as this project knows."""
    name = ("The test split ", tag("code", split[:12], title=split))
    if use is None:
        return tag(
            "p",
            *name,
            " has decided no promotion from this folder. ",
            tag("code", "espalier promote"),
            " counts all promotions that the audit of the registry records.",
        )
    date = f"{datetime.fromtimestamp(use.when, UTC):%Y-%m-%d %H:%M} UTC"
    decided = f" had decided {use.promotions} promotions of {use.registered_model}"
    counts = f" before that of {date}, and {use.models} different models were judged on it then."
    older = f" Of {use.unknown} older promotions the split is unknown." if use.unknown else ""
    often = use.promotions > limit
    warning = f" More than {limit}: prepare a test split of new examples." if often else ""
    return tag("p", *name, decided, counts, older, warning, class_="warn" if often else None)


def _table(contents: Contents, alias: str, policy: Policy) -> Markup:
    """The candidates of one alias, with a column per gate."""
    title = f"{alias}: {policy.choose.replace('_', ' ')} of the candidates that pass"
    try:
        found, best = verdicts(contents, policy), chosen(contents, policy)
    except BadInput as error:
        return tag("div", tag("h3", title), tag("p", error, class_="warn"))
    first = next(iter(found.values()), [])
    heads = tag("tr", tag("th", "candidate"), *(_head(verdict) for verdict in first))
    rows = join(_row(name, row) for name, row in found.items())
    conclusion = _conclusion(policy, found, best)
    return tag("div", tag("h3", title), scrolled(table(heads, rows)), tag("p", conclusion))


def _conclusion(policy: Policy, found: dict[str, list[Verdict]], best: str | None) -> str:
    """The number of candidates, the passing ones, and the chosen one."""
    names = ", ".join(passing(found)) or "none"
    sentences = [
        f"Candidates judged on the same test split: {len(found)}.",
        f"Candidates that pass these gates: {names}.",
    ]
    if best is not None:
        sentences.append(f"Of these {best} is chosen.")
    if policy.correction != "none":
        sentences.append(
            f"`correction: {policy.correction}` is not applied here: espalier promote widens the "
            "bounds of the drops for the number of candidates, so that fewer may pass."
        )
    return " ".join(sentences)


def _head(verdict: Verdict) -> Markup:
    gate = verdict.gate.replace("_", " ")
    return tag("th", gate, tag("span", verdict.should, class_="range"), class_="words")


def _row(name: str, verdicts: list[Verdict]) -> Markup:
    head = tag("th", name, scope="row", title=name)
    return tag("tr", head, *(_cell(one) for one in verdicts), data_model=name)


def _cell(verdict: Verdict) -> Markup:
    outcome = "passed" if verdict.passed else "refused"
    return tag("td", verdict.found, class_=f"words {outcome}", title=verdict.gate)

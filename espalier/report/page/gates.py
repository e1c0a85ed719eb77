"""What the gates say to the figures of the table."""

from espalier.errors import BadInput
from espalier.gates import Figures, Gates, Policy, Verdict, judge, read_policies
from espalier.paths import GATES, TEACHER
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, tag

_ELSEWHERE = {
    "torch_agreement": None,
    "champion_drop": None,
}  # these need the torch network, or the registry


def gates(contents: Contents) -> Markup:
    """A table per alias; nothing that can be wrong with the policy stops a report."""
    explanation = join((
        f"The policy of {GATES}, as it stood when this page was written, held against the figures above. This table "
        "decides nothing: ", tag("code", "espalier promote"), " does, which also asks whether the version's files are "
        "those that were judged, compares with the current champion on the same images, and the deployed file with "
        "the torch network.",
    ))  # fmt: skip
    try:
        policies = read_policies(contents.root / GATES)
    except BadInput as error:
        return section("gates", "Gates", explanation, tag("p", error, class_="warn"))
    return section(
        "gates", "Gates", explanation, *(_alias(contents, *one) for one in policies.items())
    )


def _alias(contents: Contents, alias: str, policy: Policy) -> Markup:
    names = policy.candidates or tuple(name for name in contents.rows if name != TEACHER)
    asked = policy.gates.model_copy(update=_ELSEWHERE)
    verdicts = {
        name: _judged(asked, _figures(contents, name)) for name in names if name in contents.rows
    }
    first = next(iter(verdicts.values()), [])
    heads = tag("tr", tag("th", "candidate"), *(tag("th", one.gate.replace("_", " "), tag("span", one.should,
                class_="range"), class_="words") for one in first))  # fmt: skip
    rows = join(
        tag("tr", tag("th", name, scope="row", title=name), *(
            tag("td", one.found, class_=f"words {'passed' if one.passed else 'refused'}", title=one.gate) for one in of
        ), data_model=name)
        for name, of in verdicts.items()
    )  # fmt: skip
    passing = [name for name, of in verdicts.items() if all(one.passed for one in of)]
    said = f"Pass as far as this table tells: {', '.join(passing) if passing else 'none'}."
    table = tag("table", tag("thead", heads), tag("tbody", rows))
    return tag("div", tag("h3", f"{alias}: the {policy.choose.replace('_', ' ')} of those that pass"),
               scrolled(table), tag("p", said))  # fmt: skip


def _judged(asked: Gates, figures: Figures) -> list[Verdict]:
    """The verdicts that a report can give: not on the files, and those that no policy can switch off last."""
    found = judge(asked, figures)
    always = [one for one in found if one.gate in ("finite", "data")]
    return [one for one in found if one.gate in Gates.model_fields] + always


def _figures(contents: Contents, name: str) -> Figures:
    data = str(contents.lineage(name).get("data", ""))
    rows = contents.rows
    return Figures.of(
        rows[name], rows[TEACHER], data=data, current_data=contents.conditions["data"]
    )

"""Surrogates: decision trees that answer like each model, their fidelity, and their features."""

from espalier.prediction import CLASSIFICATION
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, join, scrolled, section, table, tag
from espalier.report.understanding.surrogates import ModelSurrogate, Surrogates

_TITLE = "Surrogates"
_MOST = 16  # features that are shown
_EXPLANATION = (
    "For each model a decision tree of depth {depth} at most, fitted to the answers of its network to "
    "{fitted:,} training examples. Fidelity is the agreement of the tree with its network on "
    "{tested:,} validation examples, to which it was not fitted (Craven and Shavlik 1996): a tree of "
    "low fidelity explains little of its network. Beside it stands the agreement of the best constant "
    "answer. The other columns compare with the {first}. The row '{again}' is a second tree of the "
    "same network, fitted to another sample: differences as large as in this row mean nothing. "
    "{measure} A quantized model is explained by its network in floating point."
)
_CLASSES = "Agreement is the fraction of equal answers."
_VALUES = "Agreement is the coefficient of determination: 1 for equal values, 0 for the mean."
_OFF = (
    "Decision trees that answer like each model, and the features that they use. There are none: "
    "`evaluation: {surrogate_depth: 4}` in params.yaml and `espalier evaluate` fit them; examples that "
    "are tensors or have sets of labels have none."
)
_HEADS = (
    "model",
    "fidelity",
    "constant",
    "leaves",
    "network agrees",
    "tree agrees",
    "shared importance",
)
_IMPORTANCE = (
    "Importance of the features: the fraction of the impurity that the splits of a tree by a feature "
    "remove (Breiman et al. 1984), in percent."
)


def surrogates(contents: Contents) -> Markup:
    """A row per model, a table of the importance of features, and the trees in words."""
    found = contents.surrogates
    if found is None:
        return section("surrogates", _TITLE, _OFF)
    first = next(iter(found.models))
    again = f"{first}, again"
    models = {name: one for name, one in found.models.items() if name in contents.rows}
    columns = {first: found.models[first], again: found.again, **models}
    explanation = _EXPLANATION.format(
        depth=found.depth,
        fitted=found.fitted,
        tested=found.tested,
        first=first,
        again=again,
        measure=_CLASSES if contents.task.name == CLASSIFICATION.name else _VALUES,
    )
    rows = (_row(name, one, first if name == again else name) for name, one in columns.items())
    return section(
        "surrogates",
        _TITLE,
        explanation,
        scrolled(table(tag("tr", *(tag("th", head) for head in _HEADS)), join(rows))),
        tag("p", _IMPORTANCE, class_="note"),
        scrolled(_importance(found, columns)),
        *(_rules(name, one) for name, one in models.items()),
    )


def _row(title: str, one: ModelSurrogate, model: str) -> Markup:
    figures = (one.fidelity, one.constant)
    compared = (one.networks_agree, one.trees_agree, one.shared_importance)
    return tag(
        "tr",
        tag("th", title, scope="row"),
        *(tag("td", _percent(figure)) for figure in figures),
        tag("td", one.leaves),
        *(tag("td", _percent(figure)) for figure in compared),
        data_model=model,
    )


def _importance(found: Surrogates, models: dict[str, ModelSurrogate]) -> Markup:
    """A row per feature, those of the highest importance in any tree first, and a column per model."""
    highest = [
        max(one.importance[number] for one in models.values())
        for number in range(len(found.features))
    ]
    order = sorted(range(len(highest)), key=lambda number: -highest[number])
    used = [number for number in order[:_MOST] if highest[number] > 0]
    heads = tag("tr", tag("th", "feature"), *(tag("th", name) for name in models))
    rows = (
        tag(
            "tr",
            tag("th", found.features[number], scope="row"),
            *(_cell(one.importance[number]) for one in models.values()),
        )
        for number in used
    )
    return table(heads, join(rows), class_="heat")


def _cell(importance: float) -> Markup:
    style = f"background:rgba(var(--good),{0.7 * importance:.2f})"
    return tag("td", f"{100 * importance:.1f}", style=style)


def _rules(name: str, one: ModelSurrogate) -> Markup:
    title = f"the tree of {name}: {_percent(one.fidelity)} fidelity"
    rules = scrolled(tag("pre", one.rules, class_="mono"))
    return tag("details", tag("summary", title), rules, data_model=name)


def _percent(figure: float) -> str:
    return f"{100 * figure:.1f} %"

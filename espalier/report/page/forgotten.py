"""Forgotten examples: those to which the teacher's answer is right and a model's is not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from espalier.prediction import NO_ANSWER, Heads
from espalier.quantity import number
from espalier.report.page.contents import Contents
from espalier.report.page.markup import Markup, section, tag
from espalier.report.page.pictures import source

_EACH = 8  # examples of a model
_BYTES = 2_000_000  # of all examples together, so that the page stays small
_LONGEST = 300  # letters of an example that is a text
_LEFT_OUT = "Left out here: the page would grow too large."
_EXPLANATION = (
    "Test examples to which the teacher's answer is right and the model's is not, the gravest first; "
    f"at most {_EACH} of each model. Before the arrow stands the right answer, in red the model's."
)


@dataclass(frozen=True)
class _Example:
    """A forgotten example.

    Attributes:
        index: its index in the test split.
        label: its target in words.
        answer: the model's answer in words.
        gravity: order among the forgotten examples, the largest first.
    """

    index: int
    label: str
    answer: str
    gravity: float


def forgotten(contents: Contents) -> Markup:
    """Some examples per model, the gravest first."""
    cards, spent = [], 0
    for name, row in contents.rows.items():
        if not row["parent"]:
            continue
        examples = contents.forgotten(name)
        shots = [_shot(contents, example) for example in _gravest(contents, name, examples)]
        spent += sum(len(shot) for shot in shots)
        count = f"{len(examples)} forgotten" if len(examples) else "nothing forgotten"
        too_large = tag("p", _LEFT_OUT, class_="note")
        shown = tag("div", *shots, class_="shots") if spent <= _BYTES else too_large
        cards.append(tag("figure", tag("h3", f"{name}: {count}"), shown, data_model=name))
    return section(
        "forgotten", "Forgotten examples", _EXPLANATION, tag("div", *cards, class_="cards")
    )


def _gravest(contents: Contents, name: str, examples: pd.DataFrame) -> list[_Example]:
    if examples.empty:
        return []
    task = contents.task
    if isinstance(task, Heads):
        described = _of_heads(examples, task)
    else:
        described = DESCRIBE[task.name](examples, contents.classes_of(name))
    return sorted(described, key=lambda example: -example.gravity)[:_EACH]


def _of_classes(examples: pd.DataFrame, classes: Sequence[str]) -> list[_Example]:
    """Wrong classes. The gravity is the probability of the wrong class."""
    logits = np.stack(list(examples["logits"])).astype(float)
    with np.errstate(invalid="ignore"):  # logits that are not finite have no probability
        probability = np.nan_to_num(softmax(logits, axis=1).max(1))
    rows = zip(examples.to_dict("records"), probability.tolist(), strict=True)
    return [
        _Example(
            int(row["example"]),
            classes[row["label"]],
            _class(classes, row["predicted"], likely),
            likely,
        )
        for row, likely in rows
    ]


def _class(classes: Sequence[str], predicted: int, probability: float) -> str:
    if predicted == NO_ANSWER:
        return "no answer"
    return f"{classes[predicted]} {100 * probability:.0f}\N{NO-BREAK SPACE}%"


def _of_sets(examples: pd.DataFrame, classes: Sequence[str]) -> list[_Example]:
    """Wrong sets, that with the most wrong labels first."""

    def words(members: Any) -> str:
        names = [name for name, member in zip(classes, members, strict=True) if member == 1]
        return ", ".join(names) or "none"

    return [
        _Example(
            int(row["example"]),
            words(row["label"]),
            words(row["predicted"]),
            float((np.asarray(row["label"]) != np.asarray(row["predicted"])).sum()),
        )
        for row in examples.to_dict("records")
    ]


def _of_values(examples: pd.DataFrame, classes: Sequence[str]) -> list[_Example]:
    """Wrong values, that with the largest error first."""
    del classes
    return [
        _Example(
            int(row["example"]),
            number(row["label"]),
            number(row["predicted"]),
            float(np.nan_to_num(abs(row["label"] - row["predicted"]), nan=np.inf)),
        )
        for row in examples.to_dict("records")
    ]


DESCRIBE: dict[str, Callable[[pd.DataFrame, Sequence[str]], list[_Example]]] = {
    "classification": _of_classes,
    "multilabel": _of_sets,
    "regression": _of_values,
}


def _of_heads(examples: pd.DataFrame, task: Heads) -> list[_Example]:
    """Wrong answers of several heads, that with the lowest score first."""
    targets, answers = (np.stack(list(examples[name])) for name in ("label", "predicted"))
    outputs = np.stack(list(examples[task.output]))
    each = []
    for head in task.heads:
        own = {"label": head.answers_of(targets), "predicted": head.answers_of(answers)}
        columns = {name: list(values) for name, values in own.items()}
        table = pd.DataFrame({"example": examples["example"].to_numpy(), **columns})
        table[head.task.output] = list(head.outputs_of(outputs))
        each.append(DESCRIBE[head.task.name](table, head.classes))
    lost = 1 - task.scores(answers, targets)
    return [
        _Example(
            of_heads[0].index,
            _joined(task, [one.label for one in of_heads]),
            _joined(task, [one.answer for one in of_heads]),
            float(gravity),
        )
        for of_heads, gravity in zip(zip(*each, strict=True), lost, strict=True)
    ]


def _joined(task: Heads, words: Sequence[str]) -> str:
    pairs = zip(task.heads, words, strict=True)
    return "; ".join(f"{head.name} {word}" for head, word in pairs)


def _shot(contents: Contents, example: _Example) -> Markup:
    title = f"Test example {example.index}"
    label = f"{example.label} \N{RIGHTWARDS ARROW} "
    return tag(
        "figure", drawn(contents, example.index), label, tag("b", example.answer), title=title
    )


def drawn(contents: Contents, index: int) -> Markup:
    """A test example on the page: its picture or its text."""
    shown = contents.display(index)
    if isinstance(shown, str):
        return tag("blockquote", shown[:_LONGEST])
    return tag("img", src=source(shown), alt=f"test example {index}", width=76, height=76)
